"""Intervals of shares, of their differences, and from the replicates of a bootstrap.

The interval of a share is Wilson's (1927), that of a difference of shares Newcombe's (1998). From
replicates comes Efron's (1987) bias-corrected and accelerated interval, BCa: its ends are the
quantiles Phi(z0 + (z0 + z) / (1 - a (z0 + z))) of the replicates, with z0 from the share of
replicates below the estimate and a from the skewness of the jackknife. Percentiles alone cover too
little if few documents carry the effect.
"""

from statistics import NormalDist
from typing import TypeVar

import numpy as np
import pandas as pd

from mecheval_jax.statistics.student import quantile

Interval = tuple[float, float]
Numbers = TypeVar("Numbers", float, np.ndarray, pd.Series)

_NORMAL = NormalDist()


def percentile_interval(samples: np.ndarray, confidence: float) -> Interval:
    """The middle of replicates, of which as many lie below it as above."""
    low, high = np.quantile(samples, ((1 - confidence) / 2, (1 + confidence) / 2))
    return float(low), float(high)


def wilson(successes: float, trials: float, confidence: float = 0.95) -> Interval:
    """Interval of a share (Wilson 1927); within [0, 1], and valid for shares of 0 and 1."""
    if trials == 0:
        return 0.0, 1.0
    z = _NORMAL.inv_cdf((1 + confidence) / 2)
    share = successes / trials
    centre = share + z**2 / (2 * trials)
    spread = z * np.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    scale = 1 + z**2 / trials
    # For a share of 0 or 1 one end is the share itself, which rounding would miss.
    low = max(0.0, float((centre - spread) / scale)) if successes > 0 else 0.0
    high = min(1.0, float((centre + spread) / scale)) if successes < trials else 1.0
    return low, high


def variance_of_answers(right: Numbers, of: Numbers) -> Numbers:
    """Variance of a single answer of each run, and the slope of its accuracy by the logit.

    Half an answer more is right, and wrong, so that it is above 0 where all are one or the other.

    Args:
        right: Number of right answers of each run.
        of: Number of all its answers.
    """
    expected = (right + 0.5) / (of + 1)
    return expected * (1 - expected)


def difference_of_shares(
    first: tuple[float, int], second: tuple[float, int], confidence: float = 0.95
) -> Interval:
    """Interval of a difference of two shares, from Wilson's for each (Newcombe 1998, method 10).

    Args:
        first: Successes and trials of the first share.
        second: Successes and trials of the share that is subtracted.
        confidence: Confidence of the interval.
    """
    if first[1] == 0 or second[1] == 0:
        return -1.0, 1.0
    ours, theirs = ((s / n, *wilson(s, n, confidence)) for s, n in (first, second))
    return difference_of_estimates(ours, theirs)


def difference_of_estimates(
    first: tuple[float, float, float], second: tuple[float, float, float]
) -> Interval:
    """Interval of a difference of two independent estimates, from the interval of each.

    Args:
        first: An estimate with the ends of its interval.
        second: The estimate that is taken from it, likewise, of the same confidence.

    Source: the method of variance estimates recovery, Zou and Donner 2008, of which Newcombe's
    for shares is a case.
    """
    (a, low_a, high_a), (b, low_b, high_b) = first, second
    down, up = np.hypot(a - low_a, high_b - b), np.hypot(high_a - a, b - low_b)
    return float(a - b - down), float(a - b + up)


def bca_interval(
    samples: np.ndarray,
    value: float,
    acceleration: float = 0.0,
    confidence: float = 0.95,
    degrees: float = np.inf,
) -> Interval:
    """The interval of an estimate from its replicates; NaNs are left out.

    Args:
        samples: Replicates.
        value: Estimate.
        acceleration: Skewness of the jackknife, over 6.
        confidence: Confidence of the interval.
        degrees: Degrees of freedom of the variance; with few of them the ends move outwards, as the
            quantiles of Student's t lie beyond the normal ones (Hesterberg 2015).
    """
    known = samples[~np.isnan(samples)]
    if np.isnan(value) or not len(known):
        return np.nan, np.nan
    # Of replicates that equal the estimate half count as below; 0 or 1 would be an infinite bias.
    below = ((known < value).mean() + (known <= value).mean()) / 2
    bias = _NORMAL.inv_cdf(
        float(np.clip(below, 1 / (len(known) + 1), len(known) / (len(known) + 1)))
    )
    ends = []
    for tail in ((1 - confidence) / 2, (1 + confidence) / 2):
        shifted = bias + quantile(tail, degrees)
        # A denominator of 0 or less stands for a quantile beyond all replicates.
        slope = max(1 - acceleration * shifted, 1e-6)
        ends.append(_NORMAL.cdf(bias + shifted / slope))
    low, high = np.quantile(known, ends)
    return float(low), float(high)
