"""Several processes are one run: its numbers are those of one, whatever happens to them."""

import json
import os
import signal
import socket
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from mecheval_jax import runs
from mecheval_jax.store.run_folder import RunFolder
from mecheval_jax.store.sweep_folder import SweepFolder
from mecheval_jax.sweeps.plan import plan
from mecheval_jax.sweeps.run import run_sweep
from mecheval_jax.training import host_steps
from tests.support import host_sweeps, small
from tests.support.compilation import ROOT, settings
from tests.support.host_experiments import STEPS, experiment_of

SECONDS = 240
SWEEPS = "tests.support.host_sweeps"


def started(count, devices, workdir, others=(), program="tests.support.host_runs", **flags_of):
    """Exit codes and standard errors of so many processes that train together.

    Arguments for process 1 alone as ``process_1=[...]``. Without a number of devices the program
    chooses it.
    """
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    forced = "" if devices is None else f"--xla_force_host_platform_device_count={devices}"
    environment = os.environ | settings(forced)
    together = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", program, f"--workdir={workdir}", *others),
                *(f"--coordinator=localhost:{port}", f"--processes={count}", f"--process_id={i}"),
                *flags_of.get(f"process_{i}", ()),
            ],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(count)
    ]
    try:
        errors = [process.communicate(timeout=SECONDS)[1] for process in together]
    finally:
        for process in together:
            process.kill()
    return [process.returncode for process in together], errors


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The same run in one process on one device."""
    return runs.train(experiment_of("recall"), tmp_path_factory.mktemp("one") / "run")


def assert_same_run(folder, undisturbed):
    ours, theirs = folder.read_metrics(), undisturbed.read_metrics()
    assert [(r["step"], r["split"]) for r in ours] == [(r["step"], r["split"]) for r in theirs]
    assert theirs[-1]["loss"] < theirs[0]["loss"] - 0.1  # something was learned, and compared
    for row, other in zip(ours, theirs, strict=True):
        for name in ("loss", "accuracy"):
            np.testing.assert_allclose(row[name], other[name], atol=1e-5, rtol=0)
    ours, theirs = folder.read_summary(), undisturbed.read_summary()
    for name in ("accuracy", "loss", "likelihood", "finished"):
        np.testing.assert_allclose(ours[name], theirs[name], atol=1e-5)


def kept(workdir):
    return {path.name for path in (workdir / "checkpoints").iterdir()}


def test_killed_preempted_and_resumed_elsewhere(undisturbed, tmp_path):
    """Catches survivors that wait, hosts that stop at different steps, and another run after.

    Two processes of four devices; one is killed. Two that resume are told by one SIGTERM to end.
    One process on one device goes on to the end.
    """
    workdir = tmp_path / "run"
    codes, errors = started(2, 4, workdir, process_1=["--kill_at=3"])
    assert codes == [75, -signal.SIGKILL], errors
    assert "host 1 is gone; the same command, started on every host, resumes" in errors[0]
    assert kept(workdir) == {"10"}
    parts = (workdir / "checkpoints" / "10" / "default").glob("ocdbt.process_*")
    assert len(list(parts)) == 2  # both have written

    codes, errors = started(2, 4, workdir, process_1=["--kill_at=1", "--signal=15"])
    assert codes == [75, 75], errors
    assert "resuming at step 10" in errors[0]
    assert "resuming" not in errors[1]  # the first alone speaks
    step = max(kept(workdir), key=int)
    assert 10 < int(step) < 40
    for text in errors:
        assert f"the checkpoint of step {step} is saved: the same command resumes" in text
    assert not RunFolder(workdir).summary.exists()

    assert_same_run(runs.train(experiment_of("recall"), workdir), undisturbed)


def test_hosts_that_disagree(tmp_path):
    """Catches a run that trains two models at once, and a folder that one host has made."""
    codes, errors = started(2, 1, tmp_path / "run", process_1=["--width=8"])
    assert codes == [2, 2], errors
    for text in errors:
        (line,) = [line for line in text.splitlines() if line.startswith("error: ")]
        assert "the hosts disagree" in line
        assert "on host 1, the config;" in line
    assert not (tmp_path / "run").exists()


def test_a_host_that_does_not_come(tmp_path):
    """Catches a start that waits for ever, or that jax aborts with a stack of its own."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    done = small.start(
        [
            *("-m", "tests.support.host_runs"),
            *(f"--workdir={tmp_path / 'run'}", "--hosts_timeout=1"),
            *(f"--coordinator=localhost:{port}", "--processes=2", "--process_id=0"),
        ]
    )
    assert done.returncode == 2, done.stderr
    assert f"not all of the 2 processes came to localhost:{port} within 1 s" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_sweep_of_several_processes(tmp_path):
    """Catches a host that fails and goes on alone, so that all wait for ever; another table."""
    folder = SweepFolder(tmp_path / "two")
    both = ["--groups=2"]  # the second one is left to go on to
    codes, errors = started(2, 2, folder.path, both, SWEEPS, process_0=["--full_disk"])
    assert codes[0] == 2, errors
    assert codes[1] in (75, -signal.SIGABRT), errors  # jax may hear of it first
    assert "No space left on device" in errors[0]
    group, other = folder.groups()
    assert group.read_status().state == "failed"
    assert other.read_status().state == "waiting"
    (saved,) = group.checkpoints.glob("20/default")
    assert len(list(saved.glob("ocdbt.process_*"))) == 2  # each wrote its own members

    codes, errors = started(2, 3, folder.path, program=SWEEPS)
    assert codes == [0, 0], errors
    assert "finished, step 20/20" in errors[0]
    alone = SweepFolder(tmp_path / "one")
    sweep = plan(host_sweeps.BASE, host_sweeps.CHANGES)
    run_sweep(sweep, alone.path, host_sweeps.OPTIONS, sweep.groups[:1])
    ours, theirs = pd.read_csv(folder.table), pd.read_csv(alone.table)
    pd.testing.assert_frame_equal(ours, theirs, atol=1e-5)


def test_the_program_of_sweeps_divides_the_cpu_first(tmp_path, monkeypatch):
    """Catches devices that are set up before anybody says how many a CPU has."""
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    monkeypatch.delenv("JAX_NUM_CPU_DEVICES", raising=False)
    folder = SweepFolder(tmp_path / "two")
    arguments = [
        *("--config=configs/recall.py:mixer=base_conv,pairs=2,keys=8,width=8,steps=20,smoke=True",),
        *("--grid=training.seed=0,1,2", "--interventions=none", "--cpu_devices=2"),
    ]
    codes, errors = started(2, None, folder.path, arguments, "launch.sweep")
    assert codes == [0, 0], errors
    assert set(pd.read_csv(folder.table)["member"]) == {0, 1, 2}


@pytest.mark.slow
@pytest.mark.parametrize(("count", "devices"), [(2, 4), (4, 2), (1, 8)])
def test_a_killed_run_resumes_on_any_number(undisturbed, tmp_path, count, devices):
    """Catches a checkpoint that only as many processes can read as wrote it."""
    workdir = tmp_path / "run"
    codes, errors = started(2, 4, workdir, process_0=["--kill_at=5"])
    # jax's own abort may come before the word that the coordinator is gone.
    assert codes[0] == -signal.SIGKILL, errors
    assert codes[1] in (75, -signal.SIGABRT), errors
    codes, errors = started(count, devices, workdir)
    assert codes == [0] * count, errors
    assert "resuming at step 20" in errors[0]
    assert_same_run(RunFolder(workdir), undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "mesh"), [("recall", "8,1,1"), ("treecall", "8,1,1"), ("treecall", "2,1,4")]
)
def test_a_whole_run_is_that_of_one_process(tmp_path, monkeypatch, task, mesh):
    """Catches documents that depend on the host that draws them, and a mean of means."""
    monkeypatch.setattr(host_steps, "STEPS_WORTH_PARTS", STEPS)
    alone = runs.train(experiment_of(task), tmp_path / "one")
    others = [f"--task={task}", f"--mesh={mesh}"]
    codes, errors = started(2, 4, tmp_path / "two", others)
    assert codes == [0, 0], errors
    assert_same_run(RunFolder(tmp_path / "two"), alone)
    assert errors[1] == ""  # the first alone speaks
    written = json.loads((tmp_path / "two" / "provenance.json").read_text())
    assert written["device_count"] == 8


@pytest.mark.slow
def test_a_mistake_on_one_host_alone(tmp_path):
    """Catches hosts that wait for ever for one that could not even begin."""
    codes, errors = started(2, 1, tmp_path / "run", process_1=["--width=-8"])
    assert codes == [75, 2], errors
    assert "host 1 is gone" in errors[0]
    assert "model.width is -8" in errors[1]
