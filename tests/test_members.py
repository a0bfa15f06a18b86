"""Members of a group, trained together: each is the run that it would be alone."""

import dataclasses

import jax
import numpy as np
import pytest

from mecheval_jax.partitioning.members import member_mesh
from mecheval_jax.partitioning.mesh import make_mesh
from mecheval_jax.training.loop import fit
from mecheval_jax.training.state import create_state
from mecheval_jax.training.strategies import Strategy
from mecheval_jax.training.sweep import Group, Programs, fit_group
from tests import small
from tests.test_training import Nowhere

STEPS = 100
MEMBERS = (
    {"learning_rate": 1e-2, "seed": 0, "data_seed": 0},
    {"learning_rate": 3e-3, "seed": 2**32 - 1, "data_seed": 7, "weight_decay": 0.1},
    {"learning_rate": 1e-2, "seed": 3, "data_seed": 3, "beta1": 0.8, "beta2": 0.9},
    {"learning_rate": 1e-2, "seed": 0, "data_seed": 1, "steps": 60},
)
"""Each differs from the first in something else."""


class Watcher(small.Recorder):
    """Hooks of a sweep that keep everything."""

    def advance(self, standing):
        self.standing = standing


def experiment(**training):
    values = {"steps": STEPS, "evaluate_every": 50, "checkpoint_every": 50}
    return small.experiment(small.ONE_LAYER, **values | {"steps_per_dispatch": 25} | training)


def group_of(experiment, members=MEMBERS):
    runs = [dataclasses.replace(experiment.training, **changes) for changes in members]
    return Group(experiment.model, experiment.task, tuple(runs))


def trained(group, strategy=None, save=lambda step, members: None, members=None, until=None):
    """The members at the end, and what the hooks were told."""
    programs = Programs(group, member_mesh(jax.devices()[:1]))
    watcher = Watcher()
    members = fit_group(
        programs,
        strategy or Strategy("vmap", len(group.runs)),
        programs.create() if members is None else members,
        jax.device_get,
        save,
        lambda step: step == until,
        watcher,
    )
    return members, watcher


def alone(experiment, changes):
    """The same run by itself: its last state and its rows."""
    training = dataclasses.replace(experiment.training, **changes)
    mesh, hooks = make_mesh(jax.devices()[:1]), small.Recorder()
    state = create_state(experiment.model, training, mesh)
    state = fit(state, experiment.model, experiment.task, training, mesh, Nowhere(), hooks)
    return state, hooks.rows


@pytest.fixture(scope="module")
def singles():
    return [alone(experiment(), changes) for changes in MEMBERS]


@pytest.mark.parametrize(
    "strategy",
    [Strategy("vmap", 4), Strategy("vmap", 2), Strategy("scan"), Strategy("loop")],
    ids=str,
)
def test_a_member_is_the_run_that_it_would_be_alone(strategy, singles):
    """Catches a seed, rate, decay, beta or schedule that members share or that is baked in."""
    members, watcher = trained(group_of(experiment()), strategy)
    for i, (state, rows) in enumerate(singles):
        ours = jax.tree.map(lambda leaf, i=i: leaf[i], members.state)
        assert int(ours.step) == int(state.step)
        close(ours.params, state.params)
        found = [row for row in watcher.rows if row["member"] == i]
        assert [(r["step"], r["split"]) for r in found] == [(r["step"], r["split"]) for r in rows]
        for row, expected in zip(found, rows, strict=True):
            for name in ("loss", "accuracy"):
                np.testing.assert_allclose(row[name], expected[name], atol=1e-5)


def close(ours, theirs):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), ours, theirs)
