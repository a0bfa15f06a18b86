"""Who runs which groups of a sweep, and how jobs end."""

import json
import os
import pathlib
import signal
import stat
import subprocess
import sys
import threading
import time

import pytest

from mecheval_jax import machine
from mecheval_jax.command_line import REQUEUE
from mecheval_jax.errors import USAGE_ERROR, Interrupted, UserError
from mecheval_jax.sweeps.launchers import (
    Command,
    JobEnd,
    Jobs,
    launch_jobs,
    parse_parameters,
)
from tests.support import small


def test_the_error_of_a_job(tmp_path):
    """Catches a mistake whose reason nobody reads, and a fault that passes for one."""
    log = tmp_path / "log"
    log.write_text("error: first\nerror: batch_size 3 does not divide\ngood bye\n")
    error = JobEnd("a", "1", USAGE_ERROR, log).error
    assert isinstance(error, UserError)
    assert str(error) == f"batch_size 3 does not divide ({log})"
    for end in (JobEnd("a", "1", USAGE_ERROR, tmp_path / "gone"), JobEnd("a", "1", 1, log)):
        assert str(end.error) == f"see {end.log}"
        assert isinstance(end.error, UserError) == (end.code == USAGE_ERROR)


def test_parameters_of_slurm():
    """Catches a number that stays a string, and a misspelt name that Slurm never sees."""
    text = "partition=gpu,gpus_per_node=8,timeout_min=720,mem_gb=0.5,exclusive=True"
    assert parse_parameters(text) == {
        "slurm_partition": "gpu",
        "gpus_per_node": 8,
        "timeout_min": 720,
        "mem_gb": 0.5,
        "slurm_exclusive": True,
    }
    assert parse_parameters("") == {}
    # submitit compares and multiplies these numbers, and joins lists of lines.
    text = "array_parallelism=4,time=60,ntasks_per_node=2,setup=module load cuda"
    assert parse_parameters(text) == {
        "slurm_array_parallelism": 4,
        "slurm_time": 60,
        "slurm_ntasks_per_node": 2,
        "slurm_setup": ["module load cuda"],
    }
    for wrong, words in (
        ("partitoin=gpu", "'partition'"),
        ("nodes=two", "a whole number"),
        ("array_parallelism=many", "array_parallelism is 'many': it takes a whole number"),
        ("additional_parameters=x", "unknown parameter"),
        ("qos", "qos"),
    ):
        with pytest.raises(UserError, match=words):
            parse_parameters(wrong)


def test_mistakes_in_launchers(monkeypatch):
    """Catches a launcher that fails only once it launches."""
    with pytest.raises(UserError, match=r"'slrum'.*'slurm'"):
        Jobs("slrum")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="needs sbatch"):
        Jobs("slurm")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install submitit"):
        Jobs("local")
    Jobs("none")


def test_jobs_on_this_machine(tmp_path, monkeypatch):
    """Catches a failed job taken for a finished one, devices that submitit hides, a lost reason."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    seen = tmp_path / "seen"
    commands = {
        "good": ["bash", "-c", f"echo $CUDA_VISIBLE_DEVICES > {seen}; echo hello"],
        "bad": ["bash", "-c", "exit 3"],
        "refused": ["bash", "-c", f"echo 'error: 1 is too many' >&2; exit {USAGE_ERROR}"],
        "killed": ["bash", "-c", "kill -9 $$"],
        "stopped": ["bash", "-c", f"exit {REQUEUE}"],
    }
    said = []
    jobs = Jobs("local", at_once=5)
    ends = list(launch_jobs(commands.items(), jobs, tmp_path / "jobs", said.append))
    assert {end.name: (end.state, end.code) for end in ends} == {
        "good": ("finished", 0),
        "bad": ("failed", 3),
        "refused": ("failed", USAGE_ERROR),
        "killed": ("failed", -9),
        "stopped": ("preempted", REQUEUE),
    }
    assert seen.read_text() == "3\n"
    (good,) = (end for end in ends if end.name == "good")
    assert "hello" in good.log.read_text()
    (refused,) = (end for end in ends if end.name == "refused")
    assert str(refused.error) == f"1 is too many ({refused.log})"
    assert len(said) == 10  # the start and the end of each
    assert any(line.startswith("bad: failed (job") and "exit code 3" in line for line in said)


@pytest.mark.skipif(machine.usable_cores() == 1, reason="one core cannot be divided")
def test_jobs_at_once_divide_the_cores(tmp_path):
    """Catches jobs that get into each other's way, and a share that no later job takes over."""
    taken, one = tmp_path / "taken", "import os; print(sorted(os.sched_getaffinity(0)))"
    # The first two wait for each other; the third comes when one of them has ended.
    together = f"touch {tmp_path}/$0; while ! [ -e {tmp_path}/$1 ]; do sleep 0.02; done; "
    write = f"{sys.executable} -c '{one}' > {taken}.$0"
    scripts = {"a": ("b", together + write), "b": ("a", together + write), "c": ("", write)}
    commands = {
        name: ["bash", "-c", script, name, other] for name, (other, script) in scripts.items()
    }
    jobs = Jobs("local", at_once=2)
    ends = list(launch_jobs(commands.items(), jobs, tmp_path / "jobs", lambda line: None))
    assert {end.state for end in ends} == {"finished"}
    a, b, c = (set(json.loads(taken.with_suffix(f".{name}").read_text())) for name in "abc")
    assert not a & b
    assert a | b == os.sched_getaffinity(0)
    assert c in (a, b)


def test_a_command_is_taken_when_its_job_can_begin(tmp_path):
    """Catches commands that are chosen before it is known how the jobs ahead of them end."""
    ended, taken = [], []

    def commands():
        for name in ("first", "second"):
            taken.append((name, [*ended]))
            yield name, ["true"]

    for end in launch_jobs(commands(), Jobs("local"), tmp_path / "jobs", lambda line: None):
        ended.append(end.name)
    assert taken == [("first", []), ("second", ["first"])]


@pytest.mark.parametrize("how", ["interrupted", "stopped", "left"])
def test_jobs_end_with_who_waits_for_them(tmp_path, how):
    """Catches jobs that train on alone, and jobs killed while they save."""
    saved, ready, said = tmp_path / "saved", tmp_path / "ready", []

    def wait_for_the_job():
        while not ready.exists():
            time.sleep(0.02)
        return True

    def hear(line):
        said.append(line)
        if how == "interrupted" and len(said) == 2:
            wait_for_the_job()
            raise KeyboardInterrupt

    # Longer than the second that submitit leaves.
    script = (
        f"trap 'sleep 1.5; echo saved > {saved}; exit {REQUEUE}' TERM; "
        f"touch {ready}; while true; do sleep 0.05; done"
    )
    # As in a shell's background, where a program and its children ignore it.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        ends = launch_jobs(
            [("g0", ["true"]), ("g1", ["bash", "-c", script])],
            Jobs("local", at_once=2), tmp_path / "jobs", hear,
            stop=lambda: how == "stopped" and len(said) > 0 and wait_for_the_job(),
        )  # fmt: skip
        if how == "left":
            assert next(ends).name == "g0"
            wait_for_the_job()
            ends.close()
        else:
            with pytest.raises(KeyboardInterrupt if how == "interrupted" else Interrupted):
                list(ends)
    finally:
        signal.signal(signal.SIGINT, before)
    assert saved.read_text() == "saved\n"
    assert "saved" in said[-1]


def test_a_terminal_that_is_closed(tmp_path):
    """Catches a program that nobody waits for any more, and that keeps its group for itself."""
    saved, ready = tmp_path / "saved", tmp_path / "ready"
    script = (
        f"trap 'echo saved > {saved}; exit 0' TERM; touch {ready}; while true; do sleep 0.05; done"
    )
    command = f"Command(['bash', '-c', {script!r}])()"
    job = f"from mecheval_jax.sweeps.launchers import Command; {command}"
    with subprocess.Popen(**small.process(["-c", job]), preexec_fn=small.heed_signals) as process:
        while not ready.exists():
            time.sleep(0.02)
        process.send_signal(signal.SIGHUP)
    assert process.returncode == 0
    assert saved.exists()


FAKES = {
    "sbatch": """#!/bin/bash
echo x >> {log}
cp "$1" {log}.script  # as Slurm keeps a copy: submitit moves its own
last=$(grep -oP 'array=0-\\K[0-9]+' "$1")
for i in $(seq 0 "$last"); do
    SLURM_ARRAY_JOB_ID=77 SLURM_ARRAY_TASK_ID=$i SLURM_JOB_ID=$((100 + i)) SLURM_NTASKS=1 \\
    SLURM_JOB_NUM_NODES=1 SLURM_NODEID=0 SLURM_PROCID=0 SLURM_LOCALID=0 \\
    SLURM_JOB_NODELIST=localhost bash {log}.script < /dev/null > {log}.$i 2>&1 &
done
echo "Submitted batch job 77"
""",
    "srun": """#!/bin/bash
while [[ $1 == --* ]]; do [[ $1 == --unbuffered ]] || shift; shift; done
exec "$@"
""",
    "sacct": """#!/bin/bash
echo "JobID|State|NodeList"
for i in 0 1; do echo "77_$i|RUNNING|localhost"; done
""",
    "scontrol": """#!/bin/bash
echo "scontrol $*" >> {log}.requeued
""",
}


def stand_in(folder: pathlib.Path, log: pathlib.Path) -> None:
    """Programs of a Slurm that has one machine, this one."""
    folder.mkdir()
    for name, text in FAKES.items():
        path = folder / name
        path.write_text(text.replace("{log}", str(log)))
        path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_slurm_gets_one_array(tmp_path, monkeypatch):
    """Catches a job for each group, and a preempted group that is not requeued."""
    log = tmp_path / "sbatch"
    stand_in(tmp_path / "bin", log)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    first = f"[ -e {log}.requeued ] || exit {REQUEUE}"
    commands = {"g1": ["bash", "-c", "exit 4"], "g2": ["bash", "-c", first]}
    slurm = "partition=gpu,timeout_min=30,array_parallelism=1,setup=echo ready"
    jobs = Jobs("slurm", slurm=slurm)

    def run_again():  # what Slurm would do: the same task of the array, once it is requeued
        while not log.with_name("sbatch.requeued").exists():
            time.sleep(0.1)
        environment = {"SLURM_ARRAY_JOB_ID": "77", "SLURM_ARRAY_TASK_ID": "1"}
        environment |= {"SLURM_JOB_ID": "101", "SLURM_NTASKS": "1", "SLURM_JOB_NUM_NODES": "1"}
        environment |= dict.fromkeys(("SLURM_NODEID", "SLURM_PROCID", "SLURM_LOCALID"), "0")
        arguments = ["bash", "-c", f"bash {log}.script > {log}.again 2>&1"]
        os.spawnvpe(os.P_WAIT, "bash", arguments, os.environ | environment)

    thread = threading.Thread(target=run_again, daemon=True)
    thread.start()
    ends = list(launch_jobs(commands.items(), jobs, tmp_path / "jobs", lambda line: None))
    thread.join()
    assert log.read_text() == "x\n"
    assert {end.name: (end.job, end.state, end.code) for end in ends} == {
        "g1": ("77_0", "failed", 4),
        "g2": ("77_1", "finished", 0),
    }
    assert log.with_name("sbatch.requeued").read_text() == "scontrol requeue 77_1\n"
    script = log.with_name("sbatch.script").read_text()
    assert "#SBATCH --partition=gpu" in script
    assert "#SBATCH --time=30" in script
    assert "#SBATCH --array=0-1%1" in script
    assert "\n# setup\necho ready\n" in script


def test_a_warned_job_saves_before_it_is_requeued(tmp_path):
    """Catches a job requeued while its program still writes, and a signal that kills it instead."""
    saved = tmp_path / "saved"
    script = (
        f"trap 'sleep 0.2; echo saved > {saved}; exit {REQUEUE}' TERM; "
        f"touch {tmp_path}/ready; while true; do sleep 0.05; done"
    )
    command, found = Command(["bash", "-c", script]), []

    def handle(number, frame):
        again = command.checkpoint()
        found.append((saved.read_text(), again.function._arguments))

    def warn():
        # The program may be ready before this process, which heeds no warning until then.
        heeds = lambda: signal.getsignal(signal.SIGUSR2) is handle
        while not ((tmp_path / "ready").exists() and heeds()):
            time.sleep(0.02)
        os.kill(command._process.pid, signal.SIGUSR2)  # Slurm signals every process of the job
        os.kill(os.getpid(), signal.SIGUSR2)

    before = signal.signal(signal.SIGUSR2, handle)
    try:
        thread = threading.Thread(target=warn, daemon=True)
        thread.start()
        assert command() == REQUEUE
        thread.join()
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert found == [("saved\n", ["bash", "-c", script])]
