"""Variances of small groups, moderated by those of many."""

import math

import numpy as np
import pytest

from mecheval_jax.statistics.moderated import UNKNOWN, Prior, prior_of
from mecheval_jax.statistics.student import quantile


def test_the_prior_is_found_again():
    """Catches a variance for its logarithm, degrees counted twice, and groups of two left out."""
    draw = np.random.default_rng(0)
    true, degrees = Prior(0.04, 4.0), np.repeat([1.0, 2.0, 5.0], 20_000)
    variances = true.variance * true.degrees / draw.chisquare(true.degrees, len(degrees))
    measured = variances * draw.chisquare(degrees) / degrees
    found = prior_of(measured.tolist(), degrees.tolist(), 1e-12)
    assert found.variance == pytest.approx(true.variance, rel=0.1)
    assert found.degrees == pytest.approx(true.degrees, rel=0.2)


def test_groups_that_are_alike_have_one_variance():
    """Catches a division by a spread that is not there, and too few groups that tell something."""
    found = prior_of([0.25] * 100, [2.0] * 100, 1e-6)
    assert found.variance == pytest.approx(0.25, rel=1e-3)
    assert found.degrees > 20
    assert prior_of([0.25] * 4, [2.0] * 4, 1e-6) == UNKNOWN
    assert prior_of([0.0] * 10, [1.0] * 10, 1e-4).variance == pytest.approx(1e-4)


def test_groups_that_differ_have_nothing_in_common():
    """Catches degrees that are lost where a floor cuts small variances, or that large ones miss."""
    unlike = np.geomspace(1e-3, 1e3, 30).tolist()
    assert prior_of(unlike, [2.0] * 30, 1e-6).degrees < 1
    # Half of them are raised to the smallest, which hides how they differ, and not that they do.
    assert prior_of(unlike, [2.0] * 30, 1.0).degrees < 1


def test_a_group_by_itself_and_one_of_one():
    """Catches a single run that is certain, and two runs that are judged by others alone."""
    assert UNKNOWN.moderated(0.3, 2) == (0.3, 2)
    assert UNKNOWN.moderated(0.0, 0) == (0.0, 0.0)
    prior = Prior(0.2, 3.0)
    assert prior.moderated(0.0, 0) == (pytest.approx(0.2), 3.0)
    assert prior.moderated(0.8, 1) == (pytest.approx(0.35), 4.0)
    assert prior.times(10) == (pytest.approx(20.0), 3.0, math.inf)


def test_a_group_of_two_sorts_is_judged_by_itself():
    """Catches a spread that is taken from groups of one sort, where a third of the runs differ."""
    prior = Prior(1e-4, 100.0, pooled=1000.0)
    assert prior.moderated(0.22, 14) == (0.22, 14)
    assert prior.moderated(2e-4, 14) == (pytest.approx((100e-4 + 14 * 2e-4) / 114), 114)
    assert prior.moderated(0.0, 14)[1] == 114  # a smaller one is as the others are
    unlike = Prior(1e-4, 0.5)
    assert unlike.moderated(0.1, 2) == (pytest.approx((0.5e-4 + 0.2) / 2.5), 2.5)


def test_no_variance_is_known_better_than_by_all_groups():
    """Catches a normal law where five groups of two are alike by chance, and a lost limit."""
    alike = prior_of([0.25] * 5, [1.0] * 5, 1e-6)
    assert alike.pooled == 5.0
    assert Prior(0.2, 12.0, pooled=8.0).moderated(0.2, 1) == (pytest.approx(0.2), 8.0)
    assert Prior(0.2, 12.0, pooled=8.0).moderated(0.0, 0) == (pytest.approx(0.2), 8.0)


@pytest.mark.parametrize(
    ("groups", "true_degrees"), [(5, 2.0), (20, 1.0), (30, 2.0), (30, math.inf)]
)
def test_small_p_values_are_as_rare_as_they_say(groups, true_degrees):
    """Catches a prior that is believed as if it were known, and small variances cut by a floor."""
    draw, small, tables = np.random.default_rng(0), 0.002, 10_000 // groups
    degrees = np.resize([1.0, 1.0, 2.0, 5.0], groups)
    found = 0
    for _ in range(tables):
        variances = np.ones(groups)
        if math.isfinite(true_degrees):
            variances = true_degrees / draw.chisquare(true_degrees, groups)
        measured = variances * draw.chisquare(degrees) / degrees
        prior = prior_of(measured.tolist(), degrees.tolist(), 0.1)
        moderated = [prior.moderated(*own) for own in zip(measured, degrees, strict=True)]
        means = draw.normal(0, np.sqrt(variances))
        limits = [math.sqrt(own) * quantile(1 - small / 2, of) for own, of in moderated]
        found += int((np.abs(means) > limits).sum())
    assert found < 1.5 * small * groups * tables
