"""Members of a group, trained together: each is the run that it would be alone."""

import dataclasses

import jax
import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.partitioning.mesh import make_mesh
from mecheval_jax.training.ensemble.group import Group
from mecheval_jax.training.ensemble.loop import fit_group, restored, saved_part
from mecheval_jax.training.ensemble.members import NEVER
from mecheval_jax.training.ensemble.mesh import member_mesh, place
from mecheval_jax.training.ensemble.programs import Programs, choose_strategy
from mecheval_jax.training.ensemble.strategies import Choices, Strategy
from mecheval_jax.training.loop import Diverged, fit
from mecheval_jax.training.state import create_state
from tests.support import small
from tests.training.test_loop import Nowhere

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
        assert int(members.state.step[i]) == int(state.step)
        close(params_of(members, i), state.params)
        found = [row for row in watcher.rows if row["member"] == i]
        assert [(r["step"], r["split"]) for r in found] == [(r["step"], r["split"]) for r in rows]
        for row, expected in zip(found, rows, strict=True):
            for name in ("loss", "accuracy"):
                np.testing.assert_allclose(row[name], expected[name], atol=1e-5)


def params_of(members, i):
    return jax.tree.map(lambda leaf: leaf[i], members.state.params)


def close(ours, theirs):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), ours, theirs)


# What members do not share ---------------------------------------------------------------------


def test_a_diverged_member_is_frozen_and_others_go_on():
    """Catches numbers that spread, a member that goes on with NaN, and one that holds others up."""
    calm = [{"learning_rate": 1e-2, "seed": seed, "data_seed": seed} for seed in range(3)]
    wild = [*calm[:1], calm[1] | {"learning_rate": 1e12}, *calm[2:]]
    base = experiment(steps=50, warmup_fraction=0.5)
    undisturbed, _ = trained(group_of(base, calm))
    members, watcher = trained(group_of(base, wild))
    at = int(members.diverged_at[1])
    assert np.array_equal(members.diverged_at, [NEVER, at, NEVER])
    assert np.array_equal(members.state.step, [50, at, 50])
    assert 0 < at < 49
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(members.state.params))
    for i in (0, 2):
        ours, theirs = (
            jax.tree.map(lambda leaf, i=i: leaf[i], of.state.params)
            for of in (members, undisturbed)
        )
        small.assert_same_bits(ours, theirs)
    last = {row["member"]: row["step"] for row in watcher.rows}
    assert last == {0: 50, 1: at, 2: 50}
    assert all(np.isfinite(row["loss"]) for row in watcher.rows)
    with pytest.raises(Diverged) as alone_too:
        alone(base, wild[1])
    assert alone_too.value.step in (at, at + 1)  # alone, an update is seen by the next loss


def test_a_member_stops_at_the_target():
    """Catches a target met by none, by all at once, or at a stop that is no evaluation."""
    base = experiment(evaluate_every=20, checkpoint_every=100, target_accuracy=0.3)
    runs = [{"learning_rate": rate, "steps": steps} for rate, steps in ((1e-2, 100), (1e-6, 70))]
    members, watcher = trained(group_of(base, runs))
    state, rows = alone(base, runs[0])
    assert int(members.stopped_at[0]) == int(members.state.step[0]) == int(state.step) < 100
    assert int(members.stopped_at[1]) == NEVER
    assert int(members.state.step[1]) == 70
    assert watcher.standing.training == 0
    close(params_of(members, 0), state.params)
    ours = [(row["step"], row["split"]) for row in watcher.rows if row["member"] == 0]
    assert ours == [(row["step"], row["split"]) for row in rows]


@pytest.mark.parametrize("strategy", [Strategy("vmap", 4), Strategy("loop")], ids=str)
def test_a_group_resumes_to_the_bit(strategy):
    """Catches a checkpoint that lacks something, and flags or rows that start anew."""
    base = experiment(target_accuracy=0.35)
    runs = [*MEMBERS[:3], MEMBERS[3] | {"learning_rate": 1e12}]
    kept = {}

    def save(step, members):
        kept[step] = jax.device_get(saved_part(members))

    members, whole = trained(group_of(base, runs), strategy, save)
    programs = Programs(group_of(base, runs), member_mesh(jax.devices()[:1]))
    back = restored(programs.create(), place(kept[50], programs.mesh))
    again, rest = trained(group_of(base, runs), strategy, members=back)
    small.assert_same_bits(saved_part(again), saved_part(members))
    assert rest.rows == [row for row in whole.rows if row["step"] > 50]


def test_leaving_saves_and_goes_on_later():
    """Catches a preempted group that is saved nowhere, or at the end of a shorter run alone."""
    steps = []
    base = experiment()
    members, watcher = trained(
        group_of(base), save=lambda step, members: steps.append(step), until=25
    )
    assert steps == [25]
    assert watcher.standing.training == 4
    assert np.array_equal(members.state.step, [25] * 4)


def test_a_group_with_nothing_left_says_so():
    """Catches a status of members that train, where all were through before."""
    base = experiment()
    members, _ = trained(group_of(base, MEMBERS[3:]))
    _, watcher = trained(group_of(base, MEMBERS[3:]), members=members)
    assert watcher.rows == []
    assert (watcher.standing.step, watcher.standing.training, watcher.standing.taken) == (60, 0, 0)


def test_documents_that_the_host_draws():
    """Catches members that get each other's documents, and widths that change a member."""
    task = {"name": "treecall", "terminals": 8, "longest": 30, "seed": 1}
    base = small.experiment(
        small.ONE_LAYER | {"task": task, "model.max_length": 128},
        steps=20,
        steps_per_dispatch=5,
        learning_rate=1e-2,
        batch_size=4,
        evaluation_documents=8,
    )
    runs = [{"data_seed": 0}, {"data_seed": 5, "seed": 1}, {"data_seed": 5, "steps": 10}]
    members, watcher = trained(group_of(base, runs), Strategy("vmap", 3))
    for i, changes in enumerate(runs):
        state, rows = alone(base, changes)
        close(params_of(members, i), state.params)
        ours = [(r["step"], r["split"]) for r in watcher.rows if r["member"] == i]
        assert ours == [(r["step"], r["split"]) for r in rows]
    programs = Programs(group_of(base, runs), member_mesh(jax.devices()[:1]))
    with pytest.raises(UserError, match="'loop' cannot compute documents that the host draws"):
        choose_strategy(programs, Choices(None), "key", None, "loop", print)


@pytest.mark.slow
@pytest.mark.parametrize("mixer", [*small.MIXERS[1:], *small.HYBRIDS, "sliding_window_attention"])
def test_a_member_of_any_mixer(mixer):
    """Catches an operation that computes something else under vmap, or mixes members."""
    base = small.experiment(
        {
            "model.mixer": mixer,
            "model.layers": len(mixer.split(",")),
            "model.feed_forward": "none",
            "model.mixer_options": {"head_dim": 16} if "mamba2" in mixer else {},
        },
        steps=STEPS,
        evaluate_every=50,
        checkpoint_every=50,
        steps_per_dispatch=25,
    )
    runs = [{"learning_rate": 1e-3, "seed": seed, "data_seed": seed} for seed in range(2)]
    singles = [alone(base, changes) for changes in runs]
    for strategy in (Strategy("vmap", 2), Strategy("scan")):
        _, watcher = trained(group_of(base, runs), strategy)
        for i, (_, rows) in enumerate(singles):
            found = [row for row in watcher.rows if row["member"] == i]
            for row, expected in zip(found, rows, strict=True):
                np.testing.assert_allclose(row["loss"], expected["loss"], atol=1e-5)
