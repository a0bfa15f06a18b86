"""The bootstrap over documents: estimates with their replicates.

A replicate draws documents with replacement. Where several runs are pooled it first draws runs,
and then, for each run drawn, documents of that run (the hierarchical bootstrap). Either way a
replicate is a row of weights over all documents, and a mean over it is a product.
"""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

from mecheval_jax.statistics.intervals import Interval, bca_interval, wilson


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A number with its bootstrap.

    Attributes:
        value: Number over the documents as they are.
        samples: The same over resampled documents.
        documents: Number of documents that it rests on.
        acceleration: Acceleration of the BCa interval, from the jackknife.
    """

    value: float
    samples: np.ndarray
    documents: int
    acceleration: float = 0.0

    def interval(self, confidence: float) -> Interval:
        """The BCa interval."""
        return bca_interval(self.samples, self.value, self.acceleration, confidence)


class Bootstrap:
    """Resampled documents, the same for every quantity, so that documents stay paired.

    Args:
        runs: Number of documents of each run; one for a single run.
        resamples: Number of replicates.
        seed: Seed of the draws.
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
        runs: Number of documents of each run. With one run its documents alone are resampled.
        resamples: Number of rows.
        seed: Seed of the draws.
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


def accuracy_interval(
    correct: np.ndarray, asked: np.ndarray, confidence: float, bootstrap: Bootstrap
) -> tuple[Interval, np.ndarray]:
    """Interval of an accuracy, and its replicates.

    One answer to a document: Wilson's interval; a replicate is drawn from Beta(right + 1/2, wrong
    + 1/2), Jeffreys' posterior, which is not a point where all or none are right. Several: answers
    to one document are no independent trials, and documents are resampled with all of theirs;
    where all or none are right, as if each document had been asked once. Of several runs, runs are
    resampled first.

    Args:
        correct: [document] Right answers.
        asked: [document] Answers.
        confidence: Confidence of the interval.
        bootstrap: Resampled documents, the same ones.
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


def _quotient(above: np.ndarray | np.float64, under: np.ndarray | np.float64) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(np.abs(under) > 0, above / under, np.nan)


def _acceleration(remaining: np.ndarray) -> float:
    """Skewness of the estimates that leave one unit out, over 6."""
    known = remaining[~np.isnan(remaining)]
    if not len(known):
        return 0.0
    deviation = known.mean() - known
    spread = (deviation**2).sum() ** 1.5
    return float((deviation**3).sum() / (6 * spread)) if spread > 1e-30 else 0.0
