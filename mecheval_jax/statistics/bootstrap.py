"""Intervals: Wilson's for a share, the bootstrap over documents for a ratio of means.

A replicate draws documents with replacement. Where several runs are pooled it first draws runs,
and then, for each run drawn, documents of that run (the hierarchical bootstrap). Either way a
replicate is a row of weights over all documents, and a mean over it is a product.

Intervals are Efron's (1987) bias-corrected and accelerated ones, BCa: the ends are the quantiles
Phi(z0 + (z0 + z) / (1 - a (z0 + z))) of the replicates, z0 from the share of replicates below the
estimate, a from the skewness of the jackknife. Percentiles alone cover too little where few
documents carry the effect.
"""

import dataclasses
import functools
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

Interval = tuple[float, float]
_NORMAL = NormalDist()


def wilson(successes: float, trials: int, confidence: float = 0.95) -> Interval:
    """Interval of a share (Wilson 1927); within [0, 1], usable at 0 and at all of them."""
    if trials == 0:
        return 0.0, 1.0
    z = _NORMAL.inv_cdf((1 + confidence) / 2)
    share = successes / trials
    centre = share + z**2 / (2 * trials)
    spread = z * np.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    scale = 1 + z**2 / trials
    # Of none and of all, one end is the share itself, which rounding would miss.
    low = max(0.0, float((centre - spread) / scale)) if successes > 0 else 0.0
    high = min(1.0, float((centre + spread) / scale)) if successes < trials else 1.0
    return low, high


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A number with its bootstrap.

    Attributes:
        value: over the documents as they are.
        samples: over resampled documents.
        documents: how many it rests on.
        acceleration: of the BCa interval, from the jackknife.
    """

    value: float
    samples: np.ndarray
    documents: int
    acceleration: float = 0.0

    def interval(self, confidence: float) -> Interval:
        """The BCa interval."""
        return bca_interval(self.samples, self.value, self.acceleration, confidence)


def bca_interval(
    samples: np.ndarray, value: float, acceleration: float = 0.0, confidence: float = 0.95
) -> Interval:
    """The interval of an estimate from its replicates; NaNs are left out."""
    known = samples[~np.isnan(samples)]
    if np.isnan(value) or not len(known):
        return np.nan, np.nan
    # Half of those that equal the estimate lie below it; none or all would be infinitely biased.
    below = ((known < value).mean() + (known <= value).mean()) / 2
    bias = _NORMAL.inv_cdf(
        float(np.clip(below, 1 / (len(known) + 1), len(known) / (len(known) + 1)))
    )
    ends = []
    for tail in ((1 - confidence) / 2, (1 + confidence) / 2):
        shifted = bias + _NORMAL.inv_cdf(tail)
        # A denominator of 0 or less is a quantile beyond all replicates.
        slope = max(1 - acceleration * shifted, 1e-6)
        ends.append(_NORMAL.cdf(bias + shifted / slope))
    low, high = np.quantile(known, ends)
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


def accuracy_interval(
    correct: np.ndarray, asked: np.ndarray, confidence: float, bootstrap: "Bootstrap"
) -> tuple[Interval, np.ndarray]:
    """Interval of an accuracy, and its replicates.

    One answer to a document: Wilson's interval; a replicate is drawn from Beta(right + 1/2, wrong
    + 1/2), Jeffreys' posterior, which is not a point where all or none are right. Several: answers
    to one document are no independent trials, and documents are resampled with all of theirs;
    where all or none are right, as if each document had been asked once. Of several runs, runs are
    resampled first.

    Args:
        correct: [document] right answers.
        asked: [document] answers.
        confidence: of the interval.
        bootstrap: over the same documents.
    """
    several = bool((asked > 1).any())
    if several and 0 < correct.sum() < asked.sum():
        estimate = bootstrap.ratio(correct, asked, asked > 0)
        return estimate.interval(confidence), estimate.samples
    ends = np.cumsum(bootstrap.runs)[:-1]
    right, trials = (
        np.array([part.sum() for part in np.split((values > 0) if several else values, ends)])
        for values in (correct, asked)
    )
    draw, runs = np.random.default_rng([bootstrap.seed, 1]), len(bootstrap.runs)
    drawn = draw.integers(runs, size=(bootstrap.resamples, runs))
    samples = draw.beta(right[drawn] + 0.5, (trials - right)[drawn] + 0.5).mean(axis=1)
    if runs == 1:
        return wilson(float(right[0]), round(float(trials[0])), confidence), samples
    low, high = np.quantile(samples, ((1 - confidence) / 2, (1 + confidence) / 2))
    return (float(low), float(high)), samples


class Bootstrap:
    """Resampled documents, the same for every quantity, so that documents stay paired.

    Args:
        runs: documents of each run; one number for a single run.
        resamples: replicates.
        seed: of the draws.
    """

    def __init__(self, runs: Sequence[int], resamples: int, seed: int):
        self.runs, self.resamples, self.seed = tuple(runs), resamples, seed
        units = runs if len(runs) > 1 else np.ones(runs[0], int)
        # What the jackknife leaves out: a run, or a document where there is one run.
        self._unit = np.repeat(np.arange(len(units)), units)

    @functools.cached_property
    def weights(self) -> np.ndarray:
        """[resamples, documents], as of `bootstrap_weights`; drawn when first needed."""
        return bootstrap_weights(self.runs, self.resamples, self.seed)

    def mean(self, values: np.ndarray, present: np.ndarray) -> Estimate:
        """Mean of `values` over the documents where `present` holds."""
        return self.ratio(values, np.ones(len(values)), present)

    def ratio(
        self, numerator: np.ndarray, denominator: np.ndarray, present: np.ndarray
    ) -> Estimate:
        """Sum over sum over the documents where `present` holds; NaN where that divides by 0."""
        documents = int(present.sum())
        parts = (np.asarray(part, np.float64) for part in (numerator, denominator))
        totals = np.stack([np.where(present, part, 0.0) for part in parts])
        left_out = np.stack([np.bincount(self._unit, part) for part in totals])
        remaining = totals.sum(axis=1)[:, None] - left_out
        value = _quotient(*totals.sum(axis=1))
        samples = _quotient(*(self.weights @ totals.T).T)
        return Estimate(float(value), samples, documents, _acceleration(_quotient(*remaining)))


def bootstrap_weights(runs: Sequence[int], resamples: int, seed: int) -> np.ndarray:
    """Weights [resamples, documents] of resampled runs and documents; each row sums to 1.

    Args:
        runs: documents of each run. With one run its documents alone are resampled.
        resamples: rows.
        seed: of the draws.
    """
    draw = np.random.default_rng(seed)
    count = len(runs)
    times = np.ones((resamples, 1), int)
    if count > 1:
        times = draw.multinomial(count, np.full(count, 1 / count), size=resamples)
    columns = [
        draw.multinomial(times[:, run] * size, np.full(size, 1 / size)) / (size * count)
        for run, size in enumerate(runs)
    ]
    return np.concatenate(columns, axis=1)


def _quotient(above, under):
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(np.abs(under) > 0, above / under, np.nan)


def _acceleration(remaining):
    """Skewness of the estimates that leave one unit out, over 6."""
    known = remaining[~np.isnan(remaining)]
    if not len(known):
        return 0.0
    deviation = known.mean() - known
    spread = (deviation**2).sum() ** 1.5
    return float((deviation**3).sum() / (6 * spread)) if spread > 1e-30 else 0.0
