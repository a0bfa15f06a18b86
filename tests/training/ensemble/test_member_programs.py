"""Members trained together: each is the run that it would be alone."""

import gc
import weakref

import jax
import numpy as np
import pytest

from mecheval_jax.training.ensemble.member_programs import MemberPrograms
from mecheval_jax.training.ensemble.mesh import member_mesh, shard_members
from mecheval_jax.training.ensemble.strategy import Strategy
from mecheval_jax.training.loop import fit
from mecheval_jax.training.preemption import Preempted
from mecheval_jax.training.state import NEVER, Diverged, Policy
from tests.support import small
from tests.support.ensembles import (
    MEMBERS,
    STEPS,
    alone,
    close,
    ensemble_of,
    experiment,
    params_of,
    programs_of,
    train,
)


class Saves(small.Nowhere):
    """Checkpoints that are kept here."""

    def __init__(self):
        self.kept = {}

    def steps(self):
        return list(self.kept)

    def save(self, step, tree):
        self.kept[step] = jax.tree.map(np.array, tree)


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
    members, recorder = train(ensemble_of(experiment()), strategy)
    for i, (state, rows) in enumerate(singles):
        assert int(members.step[i]) == int(state.step)
        close(params_of(members, i), state.params)
        found = [row for row in recorder.rows if row["member"] == i]
        assert [(r["step"], r["split"]) for r in found] == [(r["step"], r["split"]) for r in rows]
        for row, expected in zip(found, rows, strict=True):
            for name in ("loss", "accuracy"):
                np.testing.assert_allclose(row[name], expected[name], atol=1e-5)


def test_a_diverged_member_is_frozen_and_others_go_on():
    """Catches numbers that spread, a member that goes on with NaN, and one that holds others up."""
    calm = [{"learning_rate": 1e-2, "seed": seed, "data_seed": seed} for seed in range(3)]
    wild = [*calm[:1], calm[1] | {"learning_rate": 1e12}, *calm[2:]]
    base = experiment(steps=50, warmup_fraction=0.5)
    undisturbed, _ = train(ensemble_of(base, calm))
    members, recorder = train(ensemble_of(base, wild))
    at = int(members.diverged_at[1])
    assert np.array_equal(members.diverged_at, [NEVER, at, NEVER])
    assert np.array_equal(members.step, [50, at, 50])
    assert 0 < at < 49
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(members.params))
    for i in (0, 2):
        ours, theirs = (
            jax.tree.map(lambda leaf, i=i: leaf[i], of.params) for of in (members, undisturbed)
        )
        small.assert_same_bits(ours, theirs)
    last = {row["member"]: row["step"] for row in recorder.rows}
    assert last == {0: 50, 1: at, 2: 50}
    assert all(np.isfinite(row["loss"]) for row in recorder.rows)
    with pytest.raises(Diverged) as alone_too:
        alone(base, wild[1])
    assert alone_too.value.step in (at, at + 1)  # alone, an update is seen by the next loss


def test_a_member_stops_at_the_target():
    """Catches a target met by none, by all at once, or at a stop that is no evaluation."""
    base = experiment(evaluate_every=20, checkpoint_every=100, target_accuracy=0.3)
    runs = [{"learning_rate": rate, "steps": steps} for rate, steps in ((1e-2, 100), (1e-6, 70))]
    members, recorder = train(ensemble_of(base, runs))
    state, rows = alone(base, runs[0])
    assert int(members.stopped_at[0]) == int(members.step[0]) == int(state.step) < 100
    assert int(members.stopped_at[1]) == NEVER
    assert int(members.step[1]) == 70
    assert recorder.standing.learns.sum() == 0
    close(params_of(members, 0), state.params)
    ours = [(row["step"], row["split"]) for row in recorder.rows if row["member"] == 0]
    assert ours == [(row["step"], row["split"]) for row in rows]


@pytest.mark.parametrize("strategy", [Strategy("vmap", 4), Strategy("loop")], ids=str)
def test_a_group_resumes_to_the_bit(strategy):
    """Catches a checkpoint that lacks something, and flags or rows that start anew."""
    base = experiment(target_accuracy=0.35)
    runs = [*MEMBERS[:3], MEMBERS[3] | {"learning_rate": 1e12}]
    saves = Saves()
    members, whole = train(ensemble_of(base, runs), strategy, saves)
    programs = programs_of(ensemble_of(base, runs))
    back = programs.restored(shard_members(saves.kept[50], programs.mesh))
    again, rest = train(ensemble_of(base, runs), strategy, state=back)
    small.assert_same_bits(again, members)
    assert rest.rows == [row for row in whole.rows if row["step"] > 50]


def test_leaving_saves_and_goes_on_later():
    """Catches a preempted group that is saved nowhere, or at the end of a shorter run alone."""
    saves, recorder = Saves(), small.Recorder()
    base = experiment(steps_per_dispatch=45)
    programs = programs_of(ensemble_of(base))  # the stops are 45, 50, 60 and on
    with pytest.raises(Preempted, match="the checkpoint of step 90 is saved"):
        fit(programs.create(), programs, saves, recorder, Policy.FREEZE, small.PreemptionAt(3))
    assert list(saves.kept) == [50, 90]
    assert recorder.standing.learns.sum() == 3
    assert np.array_equal(saves.kept[90]["step"], [90, 90, 90, 60])


WIDE_HEADS = {"mamba2", "mamba3"}


@pytest.mark.slow
@pytest.mark.parametrize("mixer", [*small.MIXERS[1:], *small.HYBRIDS, "sliding_window_attention"])
def test_a_member_of_any_mixer(mixer):
    """Catches an operation that computes something else under vmap, or mixes members."""
    base = small.experiment(
        {
            "model.mixer": mixer,
            "model.layers": len(mixer.split(",")),
            "model.feed_forward": "none",
            # Heads of 64 channels do not fit these models.
            "model.mixer_options": {"head_dim": 16} if {*mixer.split(",")} & WIDE_HEADS else {},
        },
        steps=STEPS,
        evaluate_every=50,
        checkpoint_every=50,
        steps_per_dispatch=25,
    )
    runs = [{"learning_rate": 1e-3, "seed": seed, "data_seed": seed} for seed in range(2)]
    singles = [alone(base, changes) for changes in runs]
    for strategy in (Strategy("vmap", 2), Strategy("scan")):
        _, recorder = train(ensemble_of(base, runs), strategy)
        for i, (_, rows) in enumerate(singles):
            found = [row for row in recorder.rows if row["member"] == i]
            for row, expected in zip(found, rows, strict=True):
                np.testing.assert_allclose(row["loss"], expected["loss"], atol=1e-5)


@pytest.fixture(scope="module")
def programs():
    return MemberPrograms(ensemble_of(experiment()), member_mesh(jax.devices()[:1]))


def test_compiled_programs_go_with_their_group(programs):
    """Catches executables of all groups of a sweep that stay in memory until its end."""
    mine = MemberPrograms(programs.ensemble, programs.mesh)
    assert mine.steps_by(Strategy("scan")) is mine.steps_by(Strategy("scan"))
    gone = weakref.ref(mine)
    del mine
    gc.collect()
    assert gone() is None


def test_a_chosen_strategy_makes_all_programs(programs):
    """Catches first parameters made by the strategy before, which a resumed group never had."""
    mine = MemberPrograms(programs.ensemble, programs.mesh)
    before = mine._birth
    chosen = mine.with_strategy(Strategy("scan"))
    assert chosen._birth is not before
    assert mine._birth is before
    alone = MemberPrograms(programs.ensemble, programs.mesh, Strategy("scan"))
    assert alone.strategy == chosen.strategy


def test_measuring_takes_real_steps(programs, monkeypatch):
    """Catches a time of members that are through with their schedule before it is taken."""
    taken = []
    steps = programs.steps_by(Strategy("scan"))

    def run(members, first, stop):
        members, metrics = steps(members, first, stop)
        taken.append(jax.device_get(members.step))
        return members, metrics

    monkeypatch.setattr(programs, "steps_by", lambda strategy: run)
    assert programs.seconds_of(Strategy("scan")) > 0
    assert [set(map(int, steps)) for steps in taken] == [{10}, {20}, {30}]
