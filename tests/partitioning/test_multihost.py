"""Joining other processes, and what one on its own does in their place."""

import types

import jax
import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.partitioning import multihost
from tests.support.clusters import KUBERNETES, OPEN_MPI, SLURM, TPU


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
