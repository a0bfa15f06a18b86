"""A process that only looks as if it joined others."""

import jax
import pytest

from tests.support.clusters import KUBERNETES, OPEN_MPI, SLURM, TPU


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
