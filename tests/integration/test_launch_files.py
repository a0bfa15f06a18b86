"""Files that start programs on clusters, as far as a machine without a cluster can tell.

Fields of JobSet v1alpha2 and of Kubernetes' Job are those that their references document; golden
where a field is added to launch/jobset.yaml: look it up there before adding it here.
"""

import functools
import os
import pathlib
import re
import shutil
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


def test_the_quickstart_knows_its_arguments(tmp_path):
    """Catches an option taken for the name of a folder."""
    start = ["bash", str(LAUNCH / "quickstart.sh")]
    told = subprocess.run([*start, "--help"], capture_output=True, text=True, cwd=tmp_path)
    assert told.returncode == 0
    assert "launch/quickstart.sh [WORKDIR]" in told.stdout
    refused = subprocess.run([*start, "--hepl"], capture_output=True, text=True, cwd=tmp_path)
    assert refused.returncode == 2
    assert "unknown option '--hepl'" in refused.stderr


def test_an_environment_that_was_not_finished_is_made_again(tmp_path):
    """Catches a making that was broken off before pip was there, and every start after it fails."""
    half = tmp_path / ".venv" / "bin"
    half.mkdir(parents=True)
    (half / "python").symlink_to(sys.executable)
    made = tmp_path / "python"
    made.write_text('#!/bin/sh\n[ "$1" = -c ] || echo "$@" >> made.txt\n')
    made.chmod(0o755)
    script = f"PYTHON={made}; source {LAUNCH / 'environment.sh'}; install_requirements none.txt"
    subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True)
    assert (tmp_path / "made.txt").read_text() == "-m venv --clear .venv\n"
