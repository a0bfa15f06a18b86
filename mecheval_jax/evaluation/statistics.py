"""Intervals: Wilson's for a share, the bootstrap over documents for a ratio of means."""

from statistics import NormalDist

import numpy as np

Interval = tuple[float, float]


def wilson(successes: float, trials: int, confidence: float = 0.95) -> Interval:
    """Interval of a share (Wilson 1927); within [0, 1], usable at 0 and at all of them."""
    if trials == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = successes / trials
    centre = share + z**2 / (2 * trials)
    spread = z * np.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    scale = 1 + z**2 / trials
    return max(0.0, float((centre - spread) / scale)), min(1.0, float((centre + spread) / scale))


def bootstrap_weights(documents: int, resamples: int, seed: int) -> np.ndarray:
    """Multinomial weights [resamples, documents]: each row is one resampled population.

    A mean over a resampled population is a product with these weights, and using the same
    ones for every quantity keeps documents paired.
    """
    counts = np.random.default_rng(seed).multinomial(
        documents, np.full(documents, 1 / documents), size=resamples
    )
    return counts / documents


def percentile_interval(samples: np.ndarray, confidence: float = 0.95) -> Interval:
    """The middle `confidence` of bootstrap samples; NaNs are left out."""
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(samples, (tail, 1 - tail))
    return float(low), float(high)


def difference_of_shares(
    first: tuple[float, int], second: tuple[float, int], confidence: float = 0.95
) -> Interval:
    """Interval of a difference of two shares, from Wilson's of each (Newcombe 1998, method 10).

    Args:
        first: successes and trials.
        second: those of the share that is taken from the first.
        confidence: of the interval.
    """
    (a, trials_a), (b, trials_b) = first, second
    if trials_a == 0 or trials_b == 0:
        return -1.0, 1.0
    (low_a, high_a), (low_b, high_b) = (
        wilson(a, trials_a, confidence),
        wilson(b, trials_b, confidence),
    )
    share_a, share_b = a / trials_a, b / trials_b
    down, up = (
        np.hypot(share_a - low_a, high_b - share_b),
        np.hypot(high_a - share_a, share_b - low_b),
    )
    return float(share_a - share_b - down), float(share_a - share_b + up)
