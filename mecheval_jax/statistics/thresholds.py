"""The size at which an accuracy has fallen halfway to guessing, with its interval.

    p(n) = g(n) + (1 - g(n)) / (1 + (n / threshold)^slope)

with g the accuracy of a guess. It is fitted to right and wrong answers by maximum likelihood on a
grid of thresholds and slopes, which turns thousands of refits into one matrix product, and then on
a finer one over what all refits have found. Of a threshold outside the measured sizes it is only
known that it lies beyond them.
"""

import dataclasses

import numpy as np

PER_DOUBLING = 16
"""Number of thresholds in the grid for each doubling of the size."""

SLOPES = np.geomspace(0.5, 32, 25)
"""Slopes of the grid: at 2 the odds of recall fall fourfold when the size doubles."""

FINE = 128, 24
"""Numbers of thresholds and of slopes in the finer grid."""

TINY = 1e-4
"""Least probability of any answer, so that one lapse at an easy size does not exclude all fits."""


@dataclasses.dataclass(frozen=True)
class Threshold:
    """A fitted threshold and its interval; None for ends outside the measured sizes.

    Attributes:
        value: Size at which half of the recall is left.
        low: Lower end; None if it lies below the smallest size.
        high: Upper end; None if it lies above the largest size.
        slope: Slope of the fit.
        beyond: ``below`` or ``above`` the measured sizes if there is no value, otherwise empty.
    """

    value: float | None
    low: float | None
    high: float | None
    slope: float
    beyond: str


def curve(sizes: np.ndarray, guess: np.ndarray, threshold: float, slope: float) -> np.ndarray:
    """Accuracies p(n) of a fit; arguments as in `fit_threshold`."""
    return guess + (1 - guess) / (1 + (np.asarray(sizes) / threshold) ** slope)


def fit_threshold(
    sizes: np.ndarray, guess: np.ndarray, right: np.ndarray, asked: np.ndarray, confidence: float
) -> Threshold:
    """Fit the curve to counts and to their replicates.

    Args:
        sizes: [sizes] Measured sizes, rising.
        guess: [sizes] Accuracy of a guess at each.
        right: [sizes, replicates] Right answers; the first column as measured, others resampled.
        asked: [sizes, replicates] Answers likewise.
        confidence: Confidence of the interval, from the quantiles of the refits.
    """
    sizes, guess = np.asarray(sizes, np.float64), np.asarray(guess, np.float64)

    def best(thresholds: np.ndarray, slopes: np.ndarray) -> np.ndarray:
        """Threshold and slope of the likeliest curve of each replicate: [replicates, 2]."""
        grid = np.array([(t, s) for t in thresholds for s in slopes])
        p = np.stack([curve(sizes, guess, *place) for place in grid])
        p = np.clip(p, TINY, 1 - TINY)
        return grid[(np.log(p) @ right + np.log(1 - p) @ (asked - right)).argmax(axis=0)]

    doublings = np.log2(sizes[-1] / sizes[0]) + 2
    coarse = np.geomspace(sizes[0] / 2, sizes[-1] * 2, round(doublings * PER_DOUBLING) + 1)
    around = best(coarse, SLOPES)
    steps = np.array([coarse[1] / coarse[0], SLOPES[1] / SLOPES[0]])
    lows, highs = around.min(axis=0) / steps, around.max(axis=0) * steps
    fine = best(*(np.geomspace(*ends) for ends in zip(lows, highs, FINE, strict=True)))
    found, slope = fine[:, 0], float(fine[0, 1])
    value = float(found[0]) if sizes[0] <= found[0] <= sizes[-1] else None
    beyond = "" if value is not None else "below" if found[0] < sizes[0] else "above"
    replicates = found[1:] if found.size > 1 else found
    tail = (1 - confidence) / 2
    low, high = map(float, np.quantile(replicates, (tail, 1 - tail), method="nearest"))
    # An end beyond the other end of the sizes is known to lie beyond that, and no further.
    least = None if low < sizes[0] else min(low, float(sizes[-1]))
    most = None if high > sizes[-1] else max(high, float(sizes[0]))
    return Threshold(value, least, most, slope, beyond)
