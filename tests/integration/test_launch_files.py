"""Files that start programs on clusters, as far as a machine without a cluster can tell.

Fields of JobSet v1alpha2 and of Kubernetes' Job are those that their references document; golden
where a field is added to launch/jobset.yaml: look it up there before adding it here.
"""

import functools
import os
import pathlib
import re
import shlex
import shutil
import stat
import subprocess
import sys

import pytest
import yaml

from mecheval_jax.command_line import REQUEUE
from tests.support.compilation import ROOT

LAUNCH = ROOT / "launch"
SCRIPTS = sorted([*LAUNCH.glob("*.sh"), LAUNCH / "slurm.sbatch", ROOT / "tests" / "run.sh"])
PATH = f"{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

TEXTS = {str: str}
POLICY_RULE = {
    "action": ("FailJob", "FailIndex", "Ignore", "Count"),
    "onExitCodes": {"containerName": str, "operator": ("In", "NotIn"), "values": [int]},
    "onPodConditions": [{"type": str, "status": ("True", "False", "Unknown")}],
}
POD = {
    "restartPolicy": ("Never", "OnFailure"),
    "terminationGracePeriodSeconds": int,
    "nodeSelector": TEXTS,
    "containers": [
        {
            "name": str,
            "image": str,
            "command": [str],
            "args": [str],
            "ports": [{"containerPort": int}],
            "resources": {"limits": {str: int}},
            "volumeMounts": [{"name": str, "mountPath": str}],
        }
    ],
    "volumes": [{"name": str, "persistentVolumeClaim": {"claimName": str}}],
}
JOB = {
    "parallelism": int,
    "completions": int,
    "completionMode": ("Indexed", "NonIndexed"),
    "backoffLimit": int,
    "backoffLimitPerIndex": int,
    "podFailurePolicy": {"rules": [POLICY_RULE]},
    "template": {"spec": POD},
}
JOBSET = {
    "apiVersion": ("jobset.x-k8s.io/v1alpha2",),
    "kind": ("JobSet",),
    "metadata": {"name": str, "labels": TEXTS, "annotations": TEXTS},
    "spec": {
        "failurePolicy": {
            "maxRestarts": int,
            "rules": [
                {
                    "name": str,
                    "action": ("FailJobSet", "RestartJobSet", "RestartJobSetAndIgnoreMaxRestarts"),
                    "onJobFailureReasons": [
                        (
                            "BackoffLimitExceeded",
                            "DeadlineExceeded",
                            "FailedIndexes",
                            "MaxFailedIndexesExceeded",
                            "PodFailurePolicy",
                        )
                    ],
                }
            ],
        },
        "network": {"enableDNSHostnames": bool, "subdomain": str},
        "replicatedJobs": [{"name": str, "replicas": int, "template": {"spec": JOB}}],
    },
}


def mistakes(value, schema, where="JobSet"):
    """Where a value is not what a schema allows."""
    if isinstance(schema, dict):
        if not isinstance(value, dict):
            return [f"{where} is no mapping"]
        free = schema.get(str)
        found = [] if free else [f"{where}.{n} is unknown" for n in value.keys() - schema.keys()]
        for name in value.keys() if free else value.keys() & schema.keys():
            found += mistakes(value[name], free or schema[name], f"{where}.{name}")
        return found
    if isinstance(schema, list):
        if not isinstance(value, list):
            return [f"{where} is no list"]
        return [m for i, one in enumerate(value) for m in mistakes(one, schema[0], f"{where}[{i}]")]
    if isinstance(schema, tuple):
        return [] if value in schema else [f"{where} is {value!r}"]
    right = type(value) is schema
    return [] if right else [f"{where} is {value!r}, no {schema.__name__}"]


@functools.cache
def jobsets():
    documents = yaml.safe_load_all((LAUNCH / "jobset.yaml").read_text())
    return {one["metadata"]["labels"]["variant"]: one for one in documents if one}


def job(variant):
    (replicated,) = jobsets()[variant]["spec"]["replicatedJobs"]
    return replicated["template"]["spec"]


def container(variant):
    (one,) = job(variant)["template"]["spec"]["containers"]
    return one


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_sound(script):
    """Catches quoting that breaks with a space, and syntax that bash does not have."""
    subprocess.run(["bash", "-n", str(script)], check=True)
    shellcheck = shutil.which("shellcheck", path=PATH)
    command = [shellcheck, "--shell=bash", "--external-sources", str(script)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("variant", ["tpu", "gpu", "shards"])
def test_jobsets_are_well_formed(variant):
    """Catches a field that Kubernetes does not know, which it may drop without a word."""
    manifest = jobsets()[variant]
    assert mistakes(manifest, JOBSET) == []
    assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", manifest["metadata"]["name"])
    spec, pod = job(variant), job(variant)["template"]["spec"]
    assert pod["restartPolicy"] == "Never"  # a policy on pod failures takes no other
    assert spec["completionMode"] == "Indexed"
    names = {volume["name"] for volume in pod["volumes"]}
    assert {mount["name"] for mount in container(variant)["volumeMounts"]} == names
    for rule in spec["podFailurePolicy"]["rules"]:
        assert ("onExitCodes" in rule) != ("onPodConditions" in rule)
        assert rule.get("onExitCodes", {}).get("containerName", "train") == "train"
        assert rule["action"] != "FailIndex" or "backoffLimitPerIndex" in spec
    (workdir,) = (a for a in container(variant)["args"] if a.startswith("--workdir="))
    assert workdir.startswith(f"--workdir={container(variant)['volumeMounts'][0]['mountPath']}/")


def test_the_check_of_jobsets_itself():
    """Catches a check that lets everything pass."""
    wrong = {"kind": "JobSet", "spec": {"replicatedJobs": [{"replicas": "1", "template": []}]}}
    assert sorted(mistakes(wrong | {"spce": {}}, JOBSET)) == [
        "JobSet.spce is unknown",
        "JobSet.spec.replicatedJobs[0].replicas is '1', no int",
        "JobSet.spec.replicatedJobs[0].template is no mapping",
    ]


def test_preempted_pods_are_started_again():
    """Catches a preemption that counts as a failure, or one pod restarted where all must be."""
    for variant, action in (("tpu", "FailJob"), ("gpu", "FailJob"), ("shards", "Ignore")):
        rules = job(variant)["podFailurePolicy"]["rules"]
        (exit_code,) = (r for r in rules if REQUEUE in r.get("onExitCodes", {}).get("values", ()))
        (taken,) = (r for r in rules if "onPodConditions" in r)
        assert exit_code["action"] == taken["action"] == action
        restarts = jobsets()[variant]["spec"]["failurePolicy"].get("rules", [])
        whole = [rule["action"] for rule in restarts]
        assert whole == (["RestartJobSetAndIgnoreMaxRestarts"] if action == "FailJob" else [])


def test_processes_find_each_other():
    """Catches a coordinator by a name that no pod has, and a count that does not fit the pods."""
    manifest, spec = jobsets()["gpu"], job("gpu")
    name = manifest["metadata"]["name"]
    (replicated,) = manifest["spec"]["replicatedJobs"]
    arguments = dict(arg.removeprefix("--").split("=", 1) for arg in container("gpu")["args"])
    host, port = arguments["coordinator"].split(":")
    assert host == f"{name}-{replicated['name']}-0-0.{name}"
    assert manifest["spec"]["network"]["enableDNSHostnames"]
    assert container("gpu")["ports"] == [{"containerPort": int(port)}]
    assert int(arguments["processes"]) == spec["completions"] == spec["parallelism"]
    assert job("tpu")["completions"] == job("tpu")["parallelism"]
    (shard,) = (arg for arg in container("shards")["args"] if arg.startswith("--shard"))
    assert shard.endswith(f"/{job('shards')['completions']}")
    assert "--processes=1" in container("shards")["args"]  # or an indexed job would be one program


def commands():
    """Programs with their flags, wherever a file of launch/ or a page names them."""
    for variant in ("tpu", "gpu", "shards"):
        one = container(variant)
        yield f"jobset {variant}", one["command"][-1], one["args"]
    yield "slurm.sbatch", "launch.sweep", ["--config", "--workdir", "--shard"]
    files = [LAUNCH / "tpu_pod.sh", LAUNCH / "slurm.sbatch", LAUNCH / "Containerfile"]
    files += [ROOT / "docs" / name for name in ("pods.md", "watching.md")]
    for file in files:
        text = file.read_text().replace("\\\n", " ")
        for program, rest in re.findall(r"-m (launch\.\w+)([^\n`|;&]*)", text):
            arguments = [word for word in rest.split() if word.startswith("--")]
            yield file.name, program, arguments


@functools.cache
def flags_of(program):
    command = [sys.executable, "-m", program, "--helpfull"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout
    return set(re.findall(r"^\s+(?:-\w,)?--(?:\[no\])?(\w+)", said, flags=re.MULTILINE))


def test_flags_exist():
    """Catches a program or flag that is named and not there."""
    missing, checked = [], 0
    for where, program, arguments in commands():
        if not (LAUNCH / f"{program.partition('.')[2]}.py").exists():
            missing.append(f"{where}: {program}")
            continue
        for argument in arguments:
            name = re.match(r"--\[?(\w+)", argument)[1]
            checked += 1
            if name not in flags_of(program):
                missing.append(f"{where}: {program} --{name}")
    assert missing == []
    assert checked > 10


def stand_in(folder, **programs):
    """Scripts in place of a cluster's programs; the PATH on which they come first."""
    folder.mkdir()
    for name, text in programs.items():
        path = folder / name
        path.write_text(f"#!/bin/bash\n{text}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def slurm(tmp_path, code, *arguments, **environment):
    """Run the batch script where srun ends with a code; what was called, and the script's end."""
    path = stand_in(
        tmp_path / "bin",
        srun=f'echo "srun $*" >> {tmp_path}/calls; exit {code}',
        scontrol=f'echo "scontrol $*" >> {tmp_path}/calls',
    )
    environment = {"SLURM_JOB_ID": "42", "SLURM_SUBMIT_DIR": str(ROOT), **environment}
    spooled = shutil.copy(LAUNCH / "slurm.sbatch", tmp_path / "slurm_script")
    result = subprocess.run(
        ["bash", str(spooled), *arguments],
        env=os.environ | {"PATH": path, "PYTHON": "python"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    calls = tmp_path / "calls"
    return calls.read_text().splitlines() if calls.exists() else [], result


@pytest.mark.parametrize("code", [0, 1, 2, 137])
def test_slurm_requeues_nothing_else(tmp_path, code):
    """Catches a failed job that Slurm starts for ever, and a code that is lost."""
    calls, result = slurm(tmp_path, code, "--config=c.py", "--workdir=/a b")
    assert result.returncode == code
    assert calls == [
        "srun --kill-on-bad-exit=0 python -m launch.sweep --config=c.py --workdir=/a b"
    ]


def array(own, first, last, count):
    """What Slurm tells a job of an array."""
    values = {"ID": own, "MIN": first, "MAX": last, "COUNT": count}
    return {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in values.items()}


def test_slurm_requeues_what_was_preempted(tmp_path):
    """Catches a job that is not gone on with, and an array that is requeued whole."""
    calls, result = slurm(tmp_path, REQUEUE, "--workdir=/x", **array(5, 2, 5, 4))
    assert result.returncode == 0, result.stderr
    (program, requeue) = calls
    assert program.endswith("-m launch.sweep --shard=3/4 --workdir=/x")
    assert requeue == "scontrol requeue 42"


def test_slurm_requeues_what_jax_aborted_but_not_for_ever(tmp_path):
    """Catches a job that ends because one of its hosts hung, and one that never gets further."""
    calls, result = slurm(tmp_path, 134, "--workdir=/x", SLURM_RESTART_COUNT="99")
    assert (calls[1], result.returncode) == ("scontrol requeue 42", 0)
    (tmp_path / "again").mkdir()
    calls, result = slurm(tmp_path / "again", REQUEUE, "--workdir=/x", SLURM_RESTART_COUNT="100")
    assert (len(calls), result.returncode) == (1, REQUEUE)
    assert "MAX_REQUEUES" in result.stderr


def test_slurm_arrays_share_out_sweeps(tmp_path):
    """Catches a run that each job of an array trains, all in one folder, and shares of nobody."""
    calls, result = slurm(tmp_path, 0, "--workdir=/x", PROGRAM="train", **array(0, 0, 3, 4))
    assert (calls, result.returncode) == ([], 2)
    assert "PROGRAM is train" in result.stderr
    (tmp_path / "gaps").mkdir()
    calls, result = slurm(tmp_path / "gaps", 0, **array(2, 0, 6, 4))  # --array=0-6:2
    assert (calls, result.returncode) == ([], 2)
    assert "give --array=0-3" in result.stderr


def test_slurm_settings():
    """Catches options behind the first command, which sbatch does not read, and no time to save."""
    text = (LAUNCH / "slurm.sbatch").read_text()
    head = re.split(r"^set ", text, flags=re.MULTILINE)[0]
    assert text.count("\n#SBATCH") == head.count("\n#SBATCH")
    options = dict(re.findall(r"^#SBATCH --([\w-]+)=?(\S*)$", head, flags=re.MULTILINE))
    assert options["signal"] == "TERM@120"
    assert {"requeue", "nodes", "ntasks-per-node", "time", "open-mode"} <= options.keys()


def tpu_pod(tmp_path, *arguments):
    calls = tmp_path / "calls"
    gcloud = f"(printf '%q ' \"$@\"; echo) >> {calls}"
    path = stand_in(tmp_path / "bin", gcloud=gcloud)
    result = subprocess.run(
        ["bash", str(LAUNCH / "tpu_pod.sh"), *arguments],
        env=os.environ | {"PATH": path},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    return calls.read_text() if calls.exists() else "", result


POD_ARGUMENTS = (
    "--name=pod",
    "--zone=us-a",
    "train",
    "--config=configs/recall.py",
    "--workdir=/a b",
)


def test_tpu_pod_runs_on_every_host(tmp_path):
    """Catches a command that reaches one host, or loses a space of an argument on its way."""
    calls, result = tpu_pod(tmp_path, *POD_ARGUMENTS)
    assert result.returncode == 0, result.stderr
    lines = [shlex.split(line) for line in calls.splitlines()]
    assert len(lines) == 3
    for line in lines:
        assert line[:3] == ["compute", "tpus", "tpu-vm"]
        assert "--worker=all" in line
        assert "--zone=us-a" in line
    (command,) = (word for word in lines[-1] if word.startswith("--command="))
    remote = shlex.split(command.removeprefix("--command="))
    assert remote[-4:] == ["-m", "launch.train", "--config=configs/recall.py", "--workdir=/a b"]


def test_tpu_pod_dry_run(tmp_path):
    """Catches a dry run that does something, or prints something else than what would be done."""
    calls, result = tpu_pod(tmp_path, "--dry_run", *POD_ARGUMENTS)
    assert (calls, result.returncode) == ("", 0)
    subprocess.run(["bash", "-n", "-c", result.stdout], check=True)
    (tmp_path / "real").mkdir()
    done, _ = tpu_pod(tmp_path / "real", *POD_ARGUMENTS)
    expected = "".join(f"gcloud {line}\n" for line in done.splitlines())
    printed, expected = (
        re.sub(r"\S+/mecheval_jax.tar.gz", "", text) for text in (result.stdout, expected)
    )
    assert printed == expected


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--zone=z", "train"], "--name is missing"),
        (["--name=n", "train"], "--zone is missing"),
        (["--name=n", "--zone=z"], "which program"),
        (["--name=n", "--zone=z", "trian"], "no program launch/trian.py"),
        (["--nmae=n", "--zone=z", "train"], "unknown option --nmae=n"),
    ],
)
def test_mistakes_with_tpu_pod(tmp_path, arguments, words):
    """Catches half a command sent to a pod."""
    calls, result = tpu_pod(tmp_path, *arguments)
    assert (calls, result.returncode) == ("", 2)
    assert words in result.stderr


def test_the_container_recipe():
    """Catches a file that is not there, a program run as root, and a shell that keeps signals."""
    text = re.sub(r"^#.*\n", "", (LAUNCH / "Containerfile").read_text(), flags=re.MULTILINE)
    steps = [line.split(None, 1) for line in text.replace("\\\n", "").splitlines() if line.strip()]
    assert [name for name, _ in steps if not name.isupper()] == []
    assert steps[0] == ["FROM", "docker.io/library/python:3.11-slim"]
    for name, rest in steps:
        if name == "COPY":
            for source in rest.split()[:-1]:
                assert (ROOT / source).exists(), source
        elif name == "RUN":
            subprocess.run(["bash", "-n", "-c", rest], check=True)
    names = [name for name, _ in steps]
    assert names.index("USER") > max(i for i, name in enumerate(names) if name in ("RUN", "COPY"))
    assert dict(steps)["USER"] != "root"
    assert dict(steps)["ENTRYPOINT"] == '["python", "-m", "launch.train"]'
    # The package imports nothing that is not copied.
    copied = {rest.split()[0] for name, rest in steps if name == "COPY"}
    assert {"mecheval_jax", "configs", "launch", "requirements.txt"} == copied
