"""The scripts of launch/ that a cluster runs, where stand-ins take the place of its programs."""

import os
import re
import shlex
import shutil
import stat
import subprocess
import tarfile

import pytest

from mecheval_jax.command_line import REQUEUE
from tests.support.compilation import ROOT

LAUNCH = ROOT / "launch"


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
        srun=f'echo "srun $*${{JAX_LOCAL_DEVICE_IDS:+ on $JAX_LOCAL_DEVICE_IDS}}" >> '
        f"{tmp_path}/calls; exit {code}",
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


def test_slurm_gives_a_process_all_devices_of_its_node(tmp_path):
    """Catches a run that trains on the first device of each node alone."""
    calls, _ = slurm(tmp_path, 0, "--workdir=/x", PROGRAM="train", SLURM_GPUS_ON_NODE="4")
    assert calls == ["srun --kill-on-bad-exit=0 python -m launch.train --workdir=/x on 0,1,2,3"]
    (tmp_path / "own").mkdir()
    own = {"SLURM_GPUS_ON_NODE": "4", "JAX_LOCAL_DEVICE_IDS": "1,2"}
    calls, _ = slurm(tmp_path / "own", 0, "--workdir=/x", **own)
    assert calls[0].endswith(" on 1,2")


def array(own, first, last, count):
    """What Slurm tells a job of an array."""
    values = {"ID": own, "MIN": first, "MAX": last, "COUNT": count}
    return {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in values.items()}


def test_slurm_requeues_what_was_preempted(tmp_path):
    """Catches a job that is not gone on with, and an array that is requeued whole."""
    calls, result = slurm(tmp_path, REQUEUE, "--workdir=/x", **array(3, 0, 3, 4))
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
    assert "that is not 0-3" in result.stderr
    (tmp_path / "again").mkdir()
    calls, result = slurm(tmp_path / "again", 0, **array(3, 3, 3, 1))  # --array=3
    assert (calls, result.returncode) == ([], 2)
    assert "SHARDS=8" in result.stderr


def test_a_job_of_an_array_is_submitted_again(tmp_path):
    """Catches a job alone in its array that trains the whole sweep, beside those that still run."""
    calls, _ = slurm(tmp_path, 0, "--workdir=/x", SHARDS="8", **array(3, 3, 3, 1))
    assert calls[0].endswith("-m launch.sweep --shard=3/8 --workdir=/x")
    (tmp_path / "none").mkdir()
    calls, result = slurm(tmp_path / "none", 0, SHARDS="8", **array(8, 8, 8, 1))
    assert (calls, result.returncode) == ([], 2)
    assert "count from 0" in result.stderr


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


@pytest.mark.parametrize(
    ("left", "made"), [((), True), (("python",), True), (("python", "activate"), False)]
)
def test_tpu_pod_makes_an_environment_that_was_broken_off(tmp_path, left, made):
    """Catches a host that is left for ever with an environment in which there is no pip."""
    calls, _ = tpu_pod(tmp_path, *POD_ARGUMENTS)
    command = f'for word in {calls.splitlines()[1]}; do last="$word"; done; eval "${{last#*=}}"'
    home, there = tmp_path / "host", tmp_path / "host" / "mecheval_jax" / ".venv" / "bin"
    there.mkdir(parents=True)
    for name in left:
        shutil.copy(shutil.which("true"), there / name)
    with tarfile.open(home / "mecheval_jax.tar.gz", "w:gz") as archive:
        archive.add(ROOT / "requirements.txt", "requirements.txt")
    venv = 'echo "$*" >> ~/made; mkdir -p .venv/bin; cp "$(type -P true)" .venv/bin/python'
    path = stand_in(tmp_path / "of_host", python3=venv)
    subprocess.run(
        ["bash", "-c", command],
        env=os.environ | {"PATH": path, "HOME": str(home)},
        cwd=home,
        check=True,
    )
    assert (home / "made").exists() == made
    assert (there.parent / "installed").exists()


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
