"""Estimates of how long members take."""

import math

import jax
import pytest

from mecheval_jax.partitioning.mesh import make_mesh
from mecheval_jax.store.sweep_folder import GroupStatus
from mecheval_jax.study.timing import (
    ACCELERATOR,
    CHECKPOINT_SECONDS,
    Clock,
    checkpoint_bytes,
    checkpoint_every,
    group_seconds,
    is_beyond,
    seconds_of_all,
    stated,
)
from mecheval_jax.sweeps.plan import GroupPlan
from mecheval_jax.training.device_programs import RunPrograms
from mecheval_jax.training.members import Ensemble
from tests.support import small


def one(mixer, width=64):
    return small.experiment({"model.mixer": mixer, "model.width": width})


def test_stated_times():
    """Catches times of another mixer, and a width that costs nothing."""
    assert stated(one("mamba")) > stated(one("attention"))
    assert stated(one("mamba", 128)) > stated(one("mamba"))


def test_measured_times_count_more():
    """Catches an estimate that ignores what was measured, or its number of devices."""
    clock = Clock(devices=2)
    before = clock.step_seconds(one("mamba"), 4)
    assert before == pytest.approx(2 * stated(one("mamba")))
    # One of two devices has two of three members, and the other waits for it.
    assert clock.step_seconds(one("mamba"), 3) == before
    clock.observe(one("mamba"), GroupStatus(members=4, steps=100, seconds=300 * before))
    wide, based = one("mamba", 128), one("based")
    assert clock.step_seconds(wide, 4) == pytest.approx(3 * 2 * stated(wide))
    assert clock.step_seconds(based, 1) == pytest.approx(3 * stated(based))
    clock.observe(based, GroupStatus(members=1, steps=0, seconds=5.0))  # nothing was trained
    assert clock.step_seconds(based, 1) == pytest.approx(3 * stated(based))
    # What one device has computed took it longer, and says nothing else of two.
    status = GroupStatus(members=4, steps=1, seconds=4 * 3 * stated(based), devices=1)
    clock.observe(based, status)
    assert clock.step_seconds(based, 4) == pytest.approx(3 * 2 * stated(based))
    assert Clock(accelerator=True).step_seconds(based, 1) == ACCELERATOR * stated(based)


def test_the_time_of_a_group():
    """Catches a group that is timed as a member, or a training as a step."""
    seeds = [small.experiment(steps=40, seed=seed) for seed in range(3)]
    group = GroupPlan("", "", (0, 1, 2), tuple(seeds))
    alone = 3 * 40 * stated(seeds[0])
    assert group_seconds(group, Clock(1)) == pytest.approx(alone)
    # Two groups on one device each take as long as one of them, and three half as long again.
    two = Clock(2).with_groups_at_once(2)
    assert (two.devices, two.at_once) == (1, 2)
    for count, times in ((1, 1.0), (2, 1.0), (3, 1.5)):
        assert seconds_of_all([group] * count, two) == pytest.approx(times * alone)


def test_a_checkpoint_every_few_minutes():
    """Catches an hour that is lost with a machine, and checkpoints off the evaluations."""
    rarely = {"evaluate_every": 100, "checkpoint_every": 10**6}
    group = [small.experiment(steps=50_000, **rarely)] * 20
    slow, fast = Clock(1), Clock(1, accelerator=True)
    every = checkpoint_every(group, slow)
    assert every % 100 == 0
    assert every < checkpoint_every(group, fast)
    often = [small.experiment(steps=50_000, **rarely | {"checkpoint_every": 200})] * 20
    assert checkpoint_every(often, slow) == 200  # as the config says
    seconds = every * slow.step_seconds(group[0], 20)
    assert 0.5 * CHECKPOINT_SECONDS < seconds <= CHECKPOINT_SECONDS
    seconds = 1000 * slow.step_seconds(group[0], 1)
    slow.observe(group[0], GroupStatus(members=1, steps=1, seconds=seconds))
    assert checkpoint_every(group, slow) == 100


def test_bytes_of_a_checkpoint():
    """Catches an estimate that is off by more than half: by the moments, or a table of words."""
    for mixer in ("attention", "based"):
        experiment = one(mixer)
        ensemble = Ensemble(experiment.model, experiment.task, (experiment.training,))
        programs = RunPrograms(ensemble, make_mesh(jax.local_devices()[:1]))
        leaves = jax.tree.leaves(programs.saved_form)
        true = sum(math.prod(leaf.shape) * 4 for leaf in leaves)
        assert checkpoint_bytes(experiment) == pytest.approx(true, rel=0.5)


def test_what_a_budget_leaves_out():
    """Catches hours taken for seconds, a group of exactly its time left out, and a limit of 0 that
    counts as none."""
    assert not is_beyond(None, 1e9, 1e9)
    assert not is_beyond(1.0, 1800.0, 1800.0)
    assert is_beyond(1.0, 1800.0, 1801.0)
    assert is_beyond(0.0, 0.0, 1.0)
