"""Accuracies of several runs, which may be on the same documents.

Runs on the same documents are crossed with them: an easy set of documents raises all of them, so
that such runs tell less than independent ones. With u the influence of each document of each run
on a number, its variance over R runs and D documents is

    v = R / (R - 1) sum_r (sum_d u)^2                                     own documents
    v = that + D / (D - 1) sum_d (sum_r u)^2 - the same of what is left   crossed

with what is left being the part of u that belongs neither to its run nor to its document. For the
difference of two populations of runs, u is negative in the second and each has its own runs; if all
are on the same documents, a document's effect on both cancels. Intervals use the quantiles of
Student's t with the degrees of freedom that R and D give (Satterthwaite).
"""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

from mecheval_jax.statistics.intervals import Interval, difference_of_shares, wilson
from mecheval_jax.statistics.student import quantile

RESAMPLES = 1_000
"""Number of sets of documents that are drawn."""

FEW = 5
"""Number of right or of wrong answers below which a share is no normal number."""


@dataclasses.dataclass(frozen=True)
class Answers:
    """Answers of several runs, to equally many documents each.

    The documents of each run are put into the order of their names, since runs may have drawn the
    same ones in different orders.

    Attributes:
        correct: [run, document] Number of right answers.
        asked: [run, document] Number of answers.
        names: [run, document] A number for the text of each document.
    """

    correct: np.ndarray
    asked: np.ndarray
    names: np.ndarray

    def __post_init__(self):
        order = np.argsort(self.names, axis=1, kind="stable")
        for field in dataclasses.fields(self):
            ordered = np.take_along_axis(getattr(self, field.name), order, axis=1)
            object.__setattr__(self, field.name, ordered)

    @property
    def accuracies(self) -> np.ndarray:
        """[run] Share of right answers."""
        return self.correct.sum(axis=1) / self.asked.sum(axis=1)

    @property
    def influence(self) -> np.ndarray:
        """[run, document] Contribution of each to the deviation of the mean accuracy."""
        right = self.correct - self.accuracies.mean() * self.asked
        return right / self.asked.sum(axis=1, keepdims=True) / len(right)

    @property
    def sets(self) -> list[np.ndarray]:
        """Indices of the runs on each set of documents."""
        _, sets = np.unique(self.names, axis=0, return_inverse=True)
        return [np.flatnonzero(sets.ravel() == one) for one in np.unique(sets)]

    def is_on(self, names: np.ndarray) -> bool:
        """Whether all runs are on the documents with these names."""
        return self.names.shape[1] == len(names) and bool((self.names == names[None]).all())

    def resampled(self) -> np.ndarray:
        """[resample, run] Accuracies on drawn documents, the same ones for all runs."""
        weights = _drawn(self.correct.shape[1])
        return (weights @ self.correct.T) / np.maximum(weights @ self.asked.T, 1)

    def where(self, runs: np.ndarray) -> "Answers":
        """The answers of some runs, by a mask or by their indices."""
        return Answers(*(values[runs] for values in (self.correct, self.asked, self.names)))


def order_as(names: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Order in which documents stand as in `first`, if they are the same; as they are if not.

    Args:
        names: [document] A number for the text of each document.
        first: [document] Those of the documents whose order is wanted.
    """
    own, other = (np.argsort(each, kind="stable") for each in (names, first))
    if not np.array_equal(names[own], first[other]):
        return np.arange(len(names))
    return own[np.argsort(other)]


@functools.lru_cache(maxsize=4)
def _drawn(size: int) -> np.ndarray:
    """[resample, document] Number of times that each document is drawn."""
    draw = np.random.default_rng(0)
    return draw.multinomial(size, np.full(size, 1 / size), size=RESAMPLES).astype(float)


def variance_of(tables: Sequence[np.ndarray], crossed: bool) -> tuple[float, float]:
    """Variance of a sum of influences over runs and documents, and its degrees of freedom.

    Args:
        tables: [run, document] Influences in each population of runs. A single run has no spread
            over runs: then its documents are the units that vary.
        crossed: Whether all runs are on the same documents, in the same order.
    """
    parts: list[tuple[float, float]] = []  # variances that add up, and their degrees of freedom
    twice = 0.0
    for table in tables:
        runs, documents = table.shape
        if runs > 1:
            of_runs = table.sum(axis=1)
            parts.append((runs / (runs - 1) * float((of_runs**2).sum()), runs - 1.0))
            if crossed:
                left = table - of_runs[:, None] / documents - table.sum(axis=0)[None] / runs
                size = runs * documents / ((runs - 1) * max(documents - 1, 1))
                twice += size * float((left**2).sum())
        elif not crossed:
            parts.append(_over_documents(table.sum(axis=0)))
    if crossed:
        parts.append(_over_documents(sum(table.sum(axis=0) for table in tables)))
    least = max(variance for variance, _ in parts) / 2 if crossed else 0.0
    return combined(parts, twice, least)


def shared_part(runs: np.ndarray) -> float:
    """Part of the variance of shared documents that the spread of runs does not have.

    It is 0 if each run has its own documents, and 1 if all runs have the same.

    Args:
        runs: [set] Number of runs on each set of documents.
    """
    count = int(runs.sum())
    return float((runs**2).sum() - count) / max(count * (count - 1), 1)


def shared_variance(tables: Sequence[np.ndarray]) -> tuple[float, float]:
    """Variance that comes to that between runs where some are on the same documents.

    With b the effect of a document on all runs of its set, of which there are R_s of R, the mean of
    all runs has the variance var(b) / D sum_s (R_s / R)^2, and the spread of the runs has all of it
    but the part (sum_s R_s^2 - R) / (R (R - 1)). What runs of a set have in common tells var(b).

    Args:
        tables: [run, document] Influences of the runs on each set of documents.

    Returns:
        The variance, and its degrees of freedom.
    """
    runs = np.array([len(table) for table in tables])
    several = [table - table.mean() for table in tables if len(table) > 1 and table.shape[1] > 1]
    if not several:
        return 0.0, 1.0
    found = 0.0
    for table in several:
        count, documents = table.shape
        both = table.sum(axis=1)[:, None] / documents + table.sum(axis=0)[None] / count
        size = count * documents / ((count - 1) * (documents - 1))
        found += _over_documents(table.sum(axis=0))[0] - size * float(((table - both) ** 2).sum())
    squares = sum(len(table) ** 2 for table in several)
    degrees = sum(table.shape[1] - 1.0 for table in several)
    return max(found, 0.0) * runs.sum() ** 2 / squares * shared_part(runs), degrees


def combined(
    parts: Sequence[tuple[float, float]], twice: float = 0.0, least: float = 0.0
) -> tuple[float, float]:
    """Sum of variances and its degrees of freedom (Satterthwaite).

    They are no fewer than those of the part that has the fewest, which a sum of parts cannot go
    below: what is taken away is estimated too, and may leave next to nothing by chance.

    Args:
        parts: Variances with their degrees of freedom.
        twice: Variance that the parts count twice.
        least: Smallest result.
    """
    whole = max(sum(variance for variance, _ in parts) - twice, least)
    spread = sum(variance**2 / degrees for variance, degrees in parts)
    if not spread > 0:
        return whole, np.inf
    return whole, max(whole**2 / spread, min(degrees for _, degrees in parts))


def _over_documents(influence: np.ndarray) -> tuple[float, float]:
    documents = len(influence)
    degrees = max(documents - 1, 1)  # a single document has no spread, and so no variance
    return documents / degrees * float((influence**2).sum()), float(degrees)


def difference(first: Answers, second: Answers, confidence: float) -> tuple[float, Interval, bool]:
    """Mean accuracy of the first runs less that of the second.

    Returns:
        The difference, its interval, and whether all runs are on the same documents.
    """
    shared = first.is_on(first.names[0]) and second.is_on(first.names[0])
    means = [float(answers.accuracies.mean()) for answers in (first, second)]
    value = means[0] - means[1]
    if shared:
        variance, degrees = variance_of([first.influence, -second.influence], True)
        # Runs that are right and wrong in the same documents are not known to be equal: there is
        # no less spread than if one document were answered by one side alone.
        variance = max(variance, 1 / first.names.shape[1] ** 2)
    else:
        variance, degrees = combined([_variance_alone(one) for one in (first, second)])
    half = quantile((1 + confidence) / 2, degrees) * variance**0.5
    low, high = max(-1.0, value - half), min(1.0, value + half)
    sizes = first.names.shape[1], second.names.shape[1]
    counts = [(mean * size, size) for mean, size in zip(means, sizes, strict=True)]
    if any(min(right, size - right) < FEW for right, size in counts):
        # Nearly all right, or none, of which a variance knows little: no shorter than if each side
        # had been asked one set of documents.
        ends = difference_of_shares(*counts, confidence)
        low, high = min(low, ends[0]), max(high, ends[1])
    return value, (low, high), shared


def _variance_alone(answers: Answers) -> tuple[float, float]:
    """Variance of the mean accuracy of runs, and its degrees of freedom."""
    tables = [answers.influence[runs] for runs in answers.sets]
    between = variance_of([answers.influence], len(tables) == 1)
    return between if len(tables) == 1 else combined([between, shared_variance(tables)])


def share_above(answers: Answers, threshold: float, confidence: float) -> tuple[float, Interval]:
    """Share of runs whose accuracy is above a threshold.

    The interval is Wilson's, for as many independent runs as would leave the variance that these
    do: runs on the same documents cross the threshold together when other documents are drawn.

    Returns:
        The share and its interval.
    """
    runs = len(answers.correct)
    hits = int((answers.accuracies > threshold).sum())
    # Covariance of runs on the same documents, over draws of these.
    together = 0.0
    for one in answers.sets:
        alike = answers.where(one)
        if len(alike.correct) > 1:
            above = alike.resampled() > threshold
            covariance = above.sum(axis=1).var() - above.var(axis=0).sum()
            together += max(0.0, float(covariance)) / runs**2
    # For a share of 0 or 1 the variance is that at the centre of Wilson's interval.
    square = quantile((1 + confidence) / 2, np.inf) ** 2
    centre = (hits + square / 2) / (runs + square)
    alone = centre * (1 - centre) / runs
    independent = runs * alone / (alone + together)
    return hits / runs, wilson(hits / runs * independent, independent, confidence)
