"""What a process learns of the others from flags and variables, and how it notes SIGTERM."""

import os
import signal
import threading
import types

import jax
import numpy as np
import pytest

from mecheval_jax import command_line
from mecheval_jax.command_line import REQUEUE
from mecheval_jax.errors import Interrupted, UserError
from mecheval_jax.partitioning import cluster, multihost
from mecheval_jax.training.preemption import Preemption
from tests.support import forked

SLURM = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4", "SLURM_PROCID": "2", "SLURM_LOCALID": "0"}
OPEN_MPI = {"OMPI_COMM_WORLD_SIZE": "3", "OMPI_COMM_WORLD_RANK": "1"}
KUBERNETES = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "1"}
TPU = {"TPU_ML_PLATFORM": "JAX"}


@pytest.fixture
def environment(monkeypatch):
    """Sets variables; those of a cluster in which the tests may run are gone."""
    for name in (*SLURM, "SLURM_STEP_NUM_TASKS", *OPEN_MPI, *KUBERNETES, *TPU):
        monkeypatch.delenv(name, raising=False)

    def put(variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return put


@pytest.fixture
def joined(monkeypatch):
    """What `jax.distributed.initialize` is called with."""
    calls = []
    monkeypatch.setattr(jax.distributed, "initialize", lambda **values: calls.append(values))
    return calls


# Catches a job's size taken for a step's, a plain pod taken for one of many, and numbers swapped.
@pytest.mark.parametrize(
    ("variables", "found"),
    [
        ({}, None),
        (SLURM, None),  # in an allocation, but not started by srun
        (SLURM | {"SLURM_STEP_NUM_TASKS": "1"}, ("Slurm", 1, 2)),
        (SLURM | {"SLURM_STEP_NUM_TASKS": "4"}, ("Slurm", 4, 2)),
        (OPEN_MPI, ("Open MPI", 3, 1)),
        (OPEN_MPI | SLURM, ("Open MPI", 3, 1)),  # mpirun in an allocation
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, None),
        (KUBERNETES, ("Kubernetes", None, None)),
        (TPU, ("TPU", None, None)),
    ],
)
def test_clusters(environment, variables, found):
    environment(variables)
    assert cluster.find_cluster() == (found and cluster.Cluster(*found))


# Catches a process on its own that waits for others.
@pytest.mark.parametrize(
    ("variables", "values"),
    [
        ({}, {}),
        (SLURM | {"SLURM_STEP_NUM_TASKS": "1"}, {}),
        (SLURM | {"SLURM_STEP_NUM_TASKS": "4"}, {"processes": 1}),
        (KUBERNETES, {"processes": 1}),
    ],
)
def test_alone(environment, joined, variables, values):
    environment(variables)
    multihost.initialize(**values)
    assert not joined
    assert multihost.is_main()
    assert not multihost.is_multiprocess()


# Catches flags that a cluster's variables override, and devices that they hide.
@pytest.mark.parametrize(
    ("variables", "values", "expected"),
    [
        ({}, ("here:12", 2, 1), ("here:12", 2, 1, "deactivate")),
        (SLURM | {"SLURM_STEP_NUM_TASKS": "4"}, ("here:12", 2, 1), ("here:12", 2, 1, "deactivate")),
        (SLURM | {"SLURM_STEP_NUM_TASKS": "4"}, (None,) * 3, (None, 4, 2, None)),
        (OPEN_MPI, ("here:12", None, None), ("here:12", 3, 1, None)),
        (KUBERNETES, (None,) * 3, (None, None, None, None)),
        (TPU, (None,) * 3, (None, None, None, None)),
    ],
)
def test_joining(environment, joined, variables, values, expected):
    environment(variables)
    multihost.initialize(*values)
    (call,) = joined
    names = ("coordinator_address", "num_processes", "process_id", "cluster_detection_method")
    assert tuple(call[name] for name in names) == expected


# Catches a mistake that is found only when the others have been waited for.
@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"coordinator": "here:12"}, "--coordinator was given without --processes and --process"),
        ({"processes": 2}, "--processes was given without --coordinator and --process_id"),
        ({"processes": 2, "process_id": 0}, "were given without --coordinator: give all three"),
        ({"coordinator": "here", "processes": 2, "process_id": 0}, "'here': give host:port"),
        ({"coordinator": "here:0", "processes": 2, "process_id": 0}, "'here:0': give host:port"),
        ({"coordinator": "a:1", "processes": 2, "process_id": 2}, "--process_id is 2: .* 0 to 1"),
        ({"coordinator": "a:1", "processes": 2, "process_id": -1}, "--process_id is -1"),
        ({"processes": 0}, "--processes is 0: it must be at least 1"),
    ],
)
def test_flags_that_cannot_be(environment, joined, values, message):
    environment({})
    with pytest.raises(UserError, match=message):
        multihost.initialize(**values)
    assert not joined


# Catches pods that train one by one into the same folder, since jax cannot find the others.
def test_others_that_cannot_be_found(environment, monkeypatch):
    environment(KUBERNETES)

    def refuse(**_):
        raise ValueError("coordinator_address should be defined.")

    monkeypatch.setattr(jax.distributed, "initialize", refuse)
    with pytest.raises(UserError, match=r"cannot be found \(coord.* or --processes=1 to run"):
        multihost.initialize()


# Catches outcomes of one process that differ from those of many.
def test_one_process_is_all_of_them():
    tree = {"a": jax.numpy.arange(3), "b": 2.0}
    found = multihost.fetch(tree)
    np.testing.assert_array_equal(found["a"], [0, 1, 2])
    assert isinstance(found["a"], np.ndarray)
    assert multihost.on_main(lambda: [1, "x"]) == [1, "x"]
    assert multihost.all_can(True)
    assert not multihost.all_can(False)
    multihost.assert_equal_across_hosts(config="a")


def test_hosts_with_different_numbers_of_devices(monkeypatch):
    """Catches a sweep whose members would not divide, and that fails with a traceback."""
    devices = [types.SimpleNamespace(process_index=host) for host in (0, 1, 1)]
    monkeypatch.setattr(multihost, "is_multiprocess", lambda: True)
    monkeypatch.setattr(multihost.jax, "devices", lambda: devices)
    with pytest.raises(UserError, match="equally many devices: host 0 has 1, host 1 has 2"):
        multihost.assert_equal_across_hosts(config="a")


# Catches the errors of a lone process, and mistakes, taken for the loss of another.
@pytest.mark.parametrize("error", [ValueError("Gloo failed"), UserError("Gloo"), OSError("disk")])
def test_errors_of_one_process_pass(error):
    with pytest.raises(type(error), match=str(error)), multihost.raise_on_host_loss():
        raise error


def test_sigterm_is_noted_and_not_died_of():
    """Catches a handler that stays behind, or that is never there."""
    before = signal.getsignal(signal.SIGTERM)
    with Preemption() as preemption:
        assert not preemption.requested()
        os.kill(os.getpid(), signal.SIGTERM)
        assert preemption.requested()
        assert preemption.requested()
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_thread_has_no_handler():
    """Catches an error of Python's where a run is trained in a thread."""
    found = []

    def enter():
        with Preemption() as preemption:
            found.append(preemption.requested())

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert found == [False]


# Catches a scheduler that is told of a failure, or of an end, where it should start again.
@pytest.mark.parametrize(("error", "code"), [(Interrupted("saved"), 75), (UserError("wrong"), 2)])
def test_exit_codes(capsys, error, code):
    def main():
        raise error

    with pytest.raises(SystemExit) as end:
        command_line._guarded(main, ["program"])
    assert end.value.code == code
    assert str(error) in capsys.readouterr().err


def test_sigterm_before_anything_is_begun():
    """Catches a code that a scheduler takes for a fault, and an exception that Python loses."""
    program = (
        "import gc, os, signal\n"
        "from mecheval_jax import command_line\n"
        "def main():\n"
        "    gc.callbacks.append(lambda *_: os.kill(os.getpid(), signal.SIGTERM))\n"
        "    gc.collect()\n"
        "command_line.run(main)\n"
    )
    done = forked.start(["-c", program])
    assert (done.returncode, done.stderr) == (
        REQUEUE,
        "stopped by SIGTERM; the same command resumes\n",
    )
