"""The one definition of an attribution, against a plain loop over documents."""

import dataclasses

import numpy as np
import pytest

from mecheval_jax.evaluation.patching.effects import Effects, Gap, effects
from mecheval_jax.statistics.bootstrap import Bootstrap
from tests.support.fabricated import fabricated_grid

ROLES = ("key", "value", "next_key", "query")
IN, OUT = "block_1/block_input", "block_0/block_output"


@pytest.fixture(scope="module")
def example():
    """A fabricated grid, and what it was made from."""
    draw = np.random.default_rng(0)
    clean, corrupted = draw.uniform(0.5, 1, 20), draw.uniform(0, 0.6, 20)
    restored, damaged = (
        {(IN, "value"): draw.uniform(size=20)},
        {(OUT, "key"): draw.uniform(size=20)},
    )
    present = draw.uniform(size=(4, 20)) > 0.2
    grid = fabricated_grid(
        clean, corrupted, restored, present=present, damaged=damaged, resamples=50
    )
    return grid, clean, corrupted, {"restore": restored, "damage": damaged}, present


def test_attributions_of_a_grid(example):
    """Catches a sign, a base of the other direction, and documents that lack the role counted."""
    grid, clean, corrupted, given, present = example
    found = effects(grid)
    weights = found.bootstrap.weights
    seen = set()
    for direction, base, sign in (("restore", corrupted, 1), ("damage", clean, -1)):
        for site in grid.sites:
            for role, here in zip(ROLES, present, strict=True):
                change = sign * (given[direction].get((site, role), base) - base)
                ours = found.attribution("key", direction, site, role)
                gap = clean - corrupted
                assert ours.value == pytest.approx(change[here].sum() / gap[here].sum())
                drawn = weights[:, here] @ change[here] / (weights[:, here] @ gap[here])
                factor = np.sqrt(here.sum() / (here.sum() - 1))
                expected = ours.value + factor * (drawn - ours.value)
                np.testing.assert_allclose(ours.samples, expected, rtol=1e-9, atol=1e-12)
                assert ours.documents == here.sum()
                seen.add(ours.value > 0)
    assert seen == {True, False}


def test_a_role_that_is_not_there(example):
    """Catches a number for a role of no document."""
    found = effects(example[0])
    nothing = found.attribution("key", "restore", IN, "answer")
    assert np.isnan(nothing.value)
    assert np.isnan(nothing.samples).all()
    assert nothing.documents == 0


def test_the_measure_is_the_one_that_was_asked_for(example):
    """Catches changes of the probability over a gap of logits: fabricated ones are ten times it."""
    grid = example[0]
    one, ten = effects(grid), effects(grid, "logit")
    np.testing.assert_allclose(ten.gap("key").sizes, 10 * one.gap("key").sizes)
    values = [each.attribution("key", "restore", IN, "value").value for each in (one, ten)]
    assert values[0] == pytest.approx(values[1])


def test_pooled_runs_are_resampled_first(example):
    """Catches documents of several runs resampled as if they were one run's."""
    grid = example[0]
    alone = effects(grid)
    fields = {name: value for name, value in vars(alone).items() if not name.startswith("_")}
    fields.pop("bootstrap", None)
    pooled = Effects(**fields | {"documents": (10, 10)})
    assert (pooled.bootstrap.weights[:, :10].sum(axis=1) == 0).any()
    assert (alone.bootstrap.weights[:, :10].sum(axis=1) > 0).all()


def test_shares_by_document():
    """Catches a share that a mean gap of about 0 makes absurd, or that is not the slope."""
    draw = np.random.default_rng(1)
    gap = draw.standard_normal(40)
    gap -= gap.mean()  # up in some documents as far as down in others
    changes, here = 0.3 * gap + 0.05 * draw.standard_normal(40), draw.uniform(size=40) > 0.3
    found = Gap(gap, np.zeros(40), Bootstrap((40,), 200, 0), by_document=True)
    share = found.share(changes, here)
    slope = np.linalg.lstsq(gap[here][:, None], changes[here])[0][0]
    assert share.value == pytest.approx(slope)
    low, high = share.interval(0.95)
    assert low < slope < high
    assert high - low < 0.1
    assert np.isnan(dataclasses.replace(found, by_document=False).share(changes).value)
    nothing = dataclasses.replace(found, clean=np.zeros(40))
    assert np.isnan(nothing.share(changes).value)
