"""Intervals, against published values, SciPy's and theory."""

import numpy as np
import pytest
import scipy.optimize
import scipy.special
import scipy.stats

from mecheval_jax.statistics.bootstrap import Bootstrap
from mecheval_jax.statistics.intervals import (
    bca_interval,
    difference_of_estimates,
    difference_of_shares,
    variance_of_answers,
    wilson,
)


def test_variance_of_answers():
    """Catches a variance of 0 where all answers are right, which says that nothing can differ."""
    found = variance_of_answers(np.array([0.0, 50.0, 100.0]), np.array([100.0, 100.0, 100.0]))
    np.testing.assert_allclose(found, [0.5 * 100.5 / 101**2, 0.25, 0.5 * 100.5 / 101**2])


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        (0, 10, 0.0, 0.2775),
        (5, 10, 0.2366, 0.7634),
        (10, 10, 0.7225, 1.0),
        (81, 263, 0.2553, 0.3662),
    ],
)
def test_wilson_against_published_values(successes, trials, low, high):
    """Catches the Wald interval, and one with the continuity correction.

    81 of 263 is the example of Newcombe (1998), table I, method 3.
    """
    assert wilson(float(successes), trials) == pytest.approx((low, high), abs=6e-5)


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_wilson_against_scipy(confidence):
    """Catches a one-sided quantile, or a confidence that is ignored."""
    for trials in (1, 7, 320):
        for successes in {0, 1, trials // 3, trials - 1, trials}:
            theirs = scipy.stats.binomtest(successes, trials).proportion_ci(confidence, "wilson")
            ours = wilson(float(successes), trials, confidence)
            assert ours == pytest.approx(tuple(theirs), abs=1e-12)


def test_wilson_at_none_and_all():
    """Catches a share that rounding puts outside its own interval."""
    for trials in range(1, 200):
        assert wilson(0.0, trials)[0] == 0.0
        assert wilson(float(trials), trials)[1] == 1.0


def test_wilson_of_nothing():
    """Catches a division by zero, or certainty, where nothing was tried."""
    assert wilson(0.0, 0) == (0.0, 1.0)


def test_an_unbiased_interval_is_that_of_the_percentiles():
    """Catches a tail on one side only, and samples without a value that spoil the rest."""
    samples = np.concatenate([np.arange(101.0), [np.nan] * 40])
    assert bca_interval(samples, 50.0, confidence=0.9) == pytest.approx((5, 95))
    assert bca_interval(samples, 50.0, confidence=0.5) == pytest.approx((25, 75))
    assert np.isnan(bca_interval(samples, np.nan)).all()


def test_the_interval_against_scipys():
    """Catches a bias or an acceleration of the wrong sign: both are large here."""
    values = np.random.default_rng(4).exponential(size=200) ** 2
    bootstrap = Bootstrap([200], 20_000, seed=0)
    ours = bootstrap.mean(values, np.ones(200, bool))
    theirs = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="BCa", rng=np.random.default_rng(1)
    ).confidence_interval
    spread = ours.samples.std()
    assert ours.interval(0.95) == pytest.approx(tuple(theirs), abs=0.12 * spread)
    percentiles = np.quantile(ours.samples, (0.025, 0.975))
    assert ours.interval(0.95)[1] > percentiles[1] + 0.15 * spread


# Newcombe's example, Statistics in Medicine 17 (1998), table II: 56 of 70 against 48 of 80.
# Catches ends of the two intervals that are swapped.
def test_difference_of_shares():
    low, high = difference_of_shares((56, 70), (48, 80))
    np.testing.assert_allclose([low, high], [0.0524, 0.3339], atol=5e-5)
    assert difference_of_shares((0, 0), (1, 2)) == (-1.0, 1.0)


def test_a_difference_of_estimates_is_that_of_shares():
    """Catches ends that are taken the wrong way round."""
    ours, theirs = (0.9, *wilson(90, 100)), (0.7, *wilson(56, 80))
    assert difference_of_estimates(ours, theirs) == pytest.approx(
        difference_of_shares((90, 100), (56, 80))
    )
    # Of an estimate that is known exactly the other's own interval is left.
    assert difference_of_estimates((0.5, 0.4, 0.7), (0.2, 0.2, 0.2)) == pytest.approx((0.2, 0.5))
