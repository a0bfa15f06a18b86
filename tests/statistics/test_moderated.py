"""Variances of small groups, moderated by those of many."""

import math

import numpy as np
import pytest

from mecheval_jax.statistics.moderated import UNKNOWN, Prior, prior_of


def test_the_prior_is_found_again():
    """Catches a variance for its logarithm, degrees counted twice, and groups of two left out."""
    draw = np.random.default_rng(0)
    true, degrees = Prior(0.04, 4.0), np.repeat([1.0, 2.0, 5.0], 2000)
    variances = true.variance * true.degrees / draw.chisquare(true.degrees, len(degrees))
    measured = variances * draw.chisquare(degrees) / degrees
    found = prior_of(measured.tolist(), degrees.tolist(), 1e-12)
    assert found.variance == pytest.approx(true.variance, rel=0.1)
    assert found.degrees == pytest.approx(true.degrees, rel=0.2)


def test_groups_that_are_alike_have_one_variance():
    """Catches a division by a spread that is not there, and a root that is sought without one."""
    found = prior_of([0.25] * 10, [2.0] * 10, 1e-6)
    assert math.isinf(found.degrees)
    assert found.moderated(100.0, 2) == (found.variance, 20.0)
    assert prior_of([0.25] * 4, [2.0] * 4, 1e-6) == UNKNOWN  # too few to tell
    assert prior_of([0.0] * 10, [1.0] * 10, 1e-4).variance > 0


def test_a_group_by_itself_and_one_of_one():
    """Catches a single run that is certain, and two runs that are judged by others alone."""
    assert UNKNOWN.moderated(0.3, 2) == (0.3, 2)
    assert UNKNOWN.moderated(0.0, 0) == (0.0, 0.0)
    prior = Prior(0.2, 3.0)
    assert prior.moderated(0.0, 0) == (pytest.approx(0.2), 3.0)
    assert prior.moderated(0.8, 1) == (pytest.approx(0.35), 4.0)
    assert prior.times(10) == (pytest.approx(20.0), 3.0, math.inf)


def test_no_variance_is_known_better_than_by_all_groups():
    """Catches a normal law where five groups of two are alike by chance, and a lost limit."""
    alike = prior_of([0.25] * 5, [1.0] * 5, 1e-6)
    assert math.isinf(alike.degrees)
    assert alike.moderated(0.3, 1)[1] == alike.moderated(0.0, 0)[1] == 5.0
    assert alike.times(2).moderated(0.3, 1) == (pytest.approx(4 * alike.variance), 5.0)
    assert Prior(0.2, 12.0, pooled=8.0).moderated(0.2, 1) == (pytest.approx(0.2), 8.0)
