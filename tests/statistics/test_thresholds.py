"""Thresholds of falling accuracies: recovered from counts, and not made up beyond them."""

import numpy as np
import pytest

from mecheval_jax.statistics.thresholds import curve, fit_threshold

SIZES = np.array([1, 2, 4, 8, 16, 32, 64.0])
GUESS = 1 / SIZES
ASKED = np.full((len(SIZES), 1), 4000.0)


def resampled(p, asked=400, replicates=300):
    """Counts that are expected, and those of samples."""
    drawn = np.random.default_rng(0).binomial(asked, p, size=(replicates, len(p))).T
    return np.concatenate([p[:, None] * asked, drawn], axis=1), np.full((len(p), 1), float(asked))


# Catches a threshold between accuracy 0 and 1, not between guessing and 1; and another slope.
@pytest.mark.parametrize(("threshold", "slope"), [(5.0, 2.0), (16.0, 8.0)])
def test_what_was_put_in_comes_out(threshold, slope):
    p = curve(SIZES, GUESS, threshold, slope)
    half_way = curve(np.array([threshold]), np.array([0.25]), threshold, slope)
    assert half_way == pytest.approx(0.625)
    found = fit_threshold(SIZES, GUESS, p[:, None] * ASKED, ASKED, 0.95)
    assert found.value == pytest.approx(threshold, rel=0.03)
    assert found.slope == pytest.approx(slope, rel=0.25)
    assert found.beyond == ""


# Catches an interval that does not come from the replicates, or is as wide whatever was counted.
def test_the_interval_holds_the_threshold_and_narrows():
    p = curve(SIZES, GUESS, 10.0, 3.0)
    widths = []
    for asked in (40, 4000, 400_000):
        right, out_of = resampled(p, asked)
        found = fit_threshold(SIZES, GUESS, right, np.tile(out_of, right.shape[1]), 0.95)
        assert found.low < 10.0 < found.high
        widths.append(found.high / found.low)
    assert 1 < widths[2] < 1.005 < widths[1] < widths[0]


# Catches a threshold that is given where recall never falls, or is never there.
@pytest.mark.parametrize(("recall", "beyond"), [(1.0, "above"), (0.0, "below")])
def test_beyond_what_was_measured(recall, beyond):
    p = GUESS + (1 - GUESS) * recall
    p[0] = 1.0 if beyond == "above" else 0.02
    found = fit_threshold(SIZES, GUESS, p[:, None] * ASKED, ASKED, 0.95)
    assert found.value is None
    assert found.beyond == beyond
    assert (found.low, found.high) == ((64.0, None) if beyond == "above" else (None, 1.0))
