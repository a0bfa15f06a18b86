"""Members: documents each its own, in parts of one width; how many are saved and read."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.training import host_steps
from mecheval_jax.training.checkpoints import Checkpoints
from mecheval_jax.training.ensemble.strategy import Strategy
from mecheval_jax.training.ensemble.strategy_choice import Choices, choose_strategy
from mecheval_jax.training.host_steps import HostSteps
from tests.support import small
from tests.support.ensembles import alone, close, ensemble_of, params_of, programs_of, train


def treecall():
    task = {"name": "treecall", "terminals": 8, "longest": 30, "seed": 1}
    return small.experiment(
        small.ONE_LAYER | {"task": task, "model.max_length": 128},
        steps=20,
        steps_per_dispatch=5,
        learning_rate=1e-2,
        batch_size=16,
        evaluation_documents=8,
    )


@pytest.mark.parametrize("most_combinations", [0, 100])
def test_documents_that_the_host_draws(monkeypatch, most_combinations):
    """Catches members that get each other's documents, and widths that change a member."""
    monkeypatch.setattr(host_steps, "STEPS_WORTH_PARTS", 20)
    monkeypatch.setattr(host_steps, "MOST_COMBINATIONS", most_combinations)
    base = treecall()
    runs = [{"data_seed": 0}, {"data_seed": 5, "seed": 1}, {"data_seed": 5, "steps": 10}]
    members, recorder = train(ensemble_of(base, runs), Strategy("vmap", 3))
    for i, changes in enumerate(runs):
        state, rows = alone(base, changes)
        close(params_of(members, i), state.params)
        ours = [(r["step"], r["split"]) for r in recorder.rows if r["member"] == i]
        assert ours == [(r["step"], r["split"]) for r in rows]


def test_how_many_at_once_is_measured(tmp_path, monkeypatch):
    """Catches members computed all at once where one after the other is faster.

    Both are timed by documents of one shape: others would need programs of their own.
    """
    runs = [{"data_seed": 0}, {"data_seed": 5, "seed": 1}, {"data_seed": 5, "steps": 10}]
    programs = programs_of(ensemble_of(treecall(), runs))
    called, seconds_of = [], programs.seconds_of
    monkeypatch.setattr(HostSteps, "__call__", recording(called, HostSteps.__call__))

    def measured(strategy):
        assert seconds_of(strategy) > 0
        return 1.0 * strategy.at_once

    monkeypatch.setattr(programs, "seconds_of", measured)
    choices, said = Choices(tmp_path / "strategies.json"), []

    def chosen(at_once=None, kind="auto"):
        return choose_strategy(programs, choices, "key", at_once, kind, said.append)

    assert chosen() == Strategy("vmap", 1)
    assert "vmap of 3" in said[-1]
    assert called == [(0, 1)] * 3 * 5 * 2  # stretches, steps of a dispatch, candidates
    assert chosen() == Strategy("vmap", 1)
    assert "measured before" in said[-1]
    assert chosen(kind="vmap") == Strategy("vmap", 3)
    assert chosen(at_once=2) == Strategy("vmap", 2)
    assert len(called) == 30
    with pytest.raises(UserError, match="'loop' cannot compute documents that the host draws"):
        chosen(kind="loop")


def recording(called, function):
    """A `HostSteps.__call__` that keeps the stretches of steps which it is called with."""

    def call(steps, state, first, stop):
        called.append((int(first), int(stop)))
        return function(steps, state, first, stop)

    return call


def test_another_number_of_members_and_nothing_else(tmp_path):
    """Catches parameters of another width that are cut to fit, or filled up with zeros."""
    checkpoints = Checkpoints(tmp_path, any_length=True)
    checkpoints.save(1, {"a": jnp.ones((3, 4))})
    checkpoints.close()
    checkpoints = Checkpoints(tmp_path, any_length=True)

    def read(*shape):
        sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
        wanted = jax.ShapeDtypeStruct(shape, jnp.float32, sharding=sharding)
        return checkpoints.read(1, {"a": wanted})["a"]

    np.testing.assert_array_equal(read(2, 4), np.ones((2, 4)))
    np.testing.assert_array_equal(read(5, 4).sum(axis=1), [4, 4, 4, 0, 0])
    with pytest.raises(UserError, match=r"a is saved as \(3, 4\), and is here \(3, 6\)"):
        read(3, 6)
    checkpoints.close()
