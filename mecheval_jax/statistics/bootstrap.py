"""The bootstrap over documents: estimates with their replicates.

A replicate draws documents with replacement. Of several runs it draws runs as well. If runs have
documents of their own, runs are drawn first, and then documents of each drawn run. If runs share
their documents, both are crossed: runs and documents are drawn independently of each other, and a
run and a document count as often as both were drawn (the pigeonhole bootstrap, Owen 2007). Where
some runs share their documents and others do not, they are drawn as if each had its own, and the
variance of what is shared is added (`crossed.shared_variance`). Either way a replicate is a row of
weights over all documents, and a mean over it is a product.

Both ways of drawing twice count some of the variance twice. Replicates are therefore rescaled to
the variance over runs and documents (`crossed`). Those of a single run of n documents are spread by
sqrt(n / (n - 1)), since drawn documents lie nearer to their own mean than to that of all documents.
Intervals use the quantiles of Student's t, so that they are wide enough for few runs, and for the
few documents that some positions have.
"""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

from mecheval_jax.statistics.crossed import combined, shared_part, shared_variance, variance_of
from mecheval_jax.statistics.intervals import Interval, bca_interval, variance_of_answers, wilson
from mecheval_jax.statistics.student import quantile, students

FEWEST_UNITS = 2
"""Number of documents below which nothing is known of their spread."""

FEWEST_DEGREES = 19.0
"""Degrees of freedom below which no quantile of the replicates lies far enough out."""

FEWEST_RUNS = 10
"""Number of runs below which intervals over runs may be too short."""


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A number with its bootstrap.

    Attributes:
        value: Value for the documents as they are.
        samples: Values for resampled documents.
        documents: Number of documents that it rests on; one that several runs share counts once.
        acceleration: Acceleration of the BCa interval, from the jackknife.
        degrees: Degrees of freedom of its variance.
    """

    value: float
    samples: np.ndarray
    documents: int
    acceleration: float = 0.0
    degrees: float = np.inf

    @classmethod
    def of_values(cls, values: np.ndarray, documents: int) -> "Estimate":
        """An estimate from the value of the documents as they are, followed by the replicates'."""
        degrees = max(documents - 1.0, 1.0)
        return cls(float(values[0]), values[1:], documents, degrees=degrees)

    @classmethod
    def unknown(cls, resamples: int, documents: int) -> "Estimate":
        """What cannot be told from a number of documents: NaN in every replicate."""
        return cls(np.nan, np.full(resamples, np.nan), documents)

    @property
    def spread(self) -> float:
        """Standard deviation of the replicates that are known; NaN if none is."""
        known = self.samples[~np.isnan(self.samples)]
        return float(known.std()) if len(known) else np.nan

    def interval(self, confidence: float) -> Interval:
        """The BCa interval, or Student's below `FEWEST_DEGREES`; NaN below `FEWEST_UNITS`."""
        if self.documents < FEWEST_UNITS:
            return np.nan, np.nan
        if self.degrees < FEWEST_DEGREES:
            half = quantile((1 + confidence) / 2, self.degrees) * self.spread
            return self.value - half, self.value + half
        return bca_interval(self.samples, self.value, self.acceleration, confidence, self.degrees)


class Bootstrap:
    """Resampled documents, the same for every quantity, so that documents stay paired.

    Args:
        runs: Number of documents of each run; one for a single run.
        resamples: Number of replicates.
        seed: Seed of the draws.
        sets: For each run the number of its set of documents, which is that of the runs on the same
            documents, in the same order; all different if None.
    """

    def __init__(
        self,
        runs: Sequence[int],
        resamples: int,
        seed: int,
        sets: Sequence[int] | None = None,
    ):
        self.runs, self.resamples, self.seed = tuple(runs), resamples, seed
        self.sets = np.asarray(range(len(runs)) if sets is None else sets)
        self.crossed = len(runs) > 1 and len(set(self.sets.tolist())) == 1
        units = runs if len(runs) > 1 else np.ones(runs[0], int)
        # Units that the jackknife leaves out: runs or, for a single run, documents.
        self._unit = np.repeat(np.arange(len(units)), units)

    @functools.cached_property
    def weights(self) -> np.ndarray:
        """[resamples, documents], from `bootstrap_weights`; drawn when first needed."""
        return bootstrap_weights(self.runs, self.resamples, self.seed, crossed=self.crossed)

    def mean(self, values: np.ndarray, present: np.ndarray) -> Estimate:
        """Mean of `values` over the documents where `present` holds."""
        return self.ratio(values, np.ones(len(values)), present)

    def ratio(
        self, numerator: np.ndarray, denominator: np.ndarray, present: np.ndarray
    ) -> Estimate:
        """Ratio of sums over the documents where `present` holds; NaN if it divides by 0."""
        # Of documents that runs share, those that are present in a run at least.
        counted = [table.any(axis=0) for table in self._tables(present)]
        documents = int(sum(each.sum() for each in counted))
        if not documents:
            return Estimate.unknown(self.resamples, 0)
        parts = (np.asarray(part, np.float64) for part in (numerator, denominator))
        totals = np.stack([np.where(present, part, 0.0) for part in parts])
        left_out = np.stack([np.bincount(self._unit, part) for part in totals])
        remaining = totals.sum(axis=1)[:, None] - left_out
        value = float(_quotient(*totals.sum(axis=1)))
        samples = _quotient(*(self.weights @ totals.T).T)
        degrees = max(documents - 1.0, 1.0)
        if len(self.runs) == 1:
            samples = value + (samples - value) * np.sqrt(max(documents, 2) / degrees)
        elif totals[1].sum() != 0:
            influence = (totals[0] - value * totals[1]) / totals[1].sum()
            variance, degrees = self._variance(influence, np.asarray(present, bool), counted)
            drawn = np.nanstd(samples)
            if drawn > 0:
                samples = value + (samples - value) * np.sqrt(variance) / drawn
        acceleration = _acceleration(_quotient(*remaining))
        return Estimate(value, samples, documents, acceleration, degrees)

    def _tables(self, values: np.ndarray) -> list[np.ndarray]:
        """Values of all documents as tables [run, document], one for each set of documents."""
        parts = np.split(values, np.cumsum(self.runs)[:-1])
        return [
            np.stack([parts[run] for run in np.flatnonzero(self.sets == one)])
            for one in np.unique(self.sets)
        ]

    def _variance(
        self, influence: np.ndarray, present: np.ndarray, counted: Sequence[np.ndarray]
    ) -> tuple[float, float]:
        """Variance of an estimate over runs and the counted documents; its degrees of freedom.

        Runs without a document that counts say nothing of how far runs lie apart. Where all are of
        one run, its documents are what varies.
        """
        pairs = zip(self._tables(influence), counted, strict=True)
        tables = [table[:, here] for table, here in pairs]
        if self.crossed:
            return variance_of(tables, True)
        having = np.bincount(self._unit, present, len(self.runs)) > 0
        if having.sum() == 1:
            return variance_of([influence[None, present]], False)
        # Runs may have other numbers of documents: only their sums are compared.
        sums = np.bincount(self._unit, influence, len(self.runs))[having]
        between = variance_of([sums[:, None]], False)
        return combined([between, shared_variance(tables)])


def bootstrap_weights(
    runs: Sequence[int], resamples: int, seed: int, *, crossed: bool = False
) -> np.ndarray:
    """Weights [resamples, documents] of resampled runs and documents; each row sums to 1.

    Args:
        runs: Number of documents of each run. Of a single run only the documents are resampled.
        resamples: Number of rows.
        seed: Seed of the draws.
        crossed: Whether all runs are on the same documents, in the same order.
    """
    draw = np.random.default_rng(seed)
    count = len(runs)
    times = np.ones((resamples, 1), int)
    if count > 1:
        times = draw.multinomial(count, np.full(count, 1 / count), size=resamples)
    if crossed:
        size = runs[0]
        chosen = draw.multinomial(size, np.full(size, 1 / size), size=resamples) / size
        return (times[:, :, None] / count * chosen[:, None]).reshape(resamples, -1)
    columns = [
        draw.multinomial(times[:, run] * size, np.full(size, 1 / size)) / (size * count)
        for run, size in enumerate(runs)
        if size
    ]
    return np.concatenate(columns, axis=1)


def accuracy_interval(
    correct: np.ndarray, asked: np.ndarray, confidence: float, bootstrap: Bootstrap
) -> tuple[Interval, np.ndarray]:
    """Interval of an accuracy, and its replicates.

    With one answer to each document of one run it is Wilson's interval, and a replicate is drawn
    from Jeffreys' posterior Beta(right + 1/2, wrong + 1/2), which has a width even if all or none
    are right. Several answers to a document are no independent trials, and neither are those of
    several runs: documents are then resampled with all of their answers, and runs with them, or, if
    all or none are right, taken as if each had been asked once.

    Args:
        correct: [document] Number of right answers.
        asked: [document] Number of answers.
        confidence: Confidence of the interval.
        bootstrap: Bootstrap over the same documents.
    """
    several = bool((asked > 1).any())
    if (several or len(bootstrap.runs) > 1) and 0 < correct.sum() < asked.sum():
        estimate = bootstrap.ratio(correct, asked, asked > 0)
        low, high = estimate.interval(confidence)
        return (max(0.0, low), min(1.0, high)), estimate.samples
    ends = np.cumsum(bootstrap.runs)[:-1]
    right, trials = (
        np.array([part.sum() for part in np.split((values > 0) if several else values, ends)])
        for values in (correct, asked)
    )
    return share_interval(right, trials, confidence, bootstrap)


def share_interval(
    right: np.ndarray, trials: np.ndarray, confidence: float, bootstrap: Bootstrap
) -> tuple[Interval, np.ndarray]:
    """Interval and replicates of a share of which the right answers of each run are known.

    Of one run they are those of `accuracy_interval`. Of several the variance is that between runs,
    and on shared documents that of documents as well, as if these were easy or hard for all runs
    alike: it is not known which answers were right. It is no smaller than that of independent
    answers, and the interval no shorter than Wilson's of as many answers as that variance is worth:
    near 0 and 1 a symmetric one is.

    Args:
        right: [run] Number of right answers.
        trials: [run] Number of answers, to one document each.
        confidence: Confidence of the interval.
        bootstrap: Bootstrap that gives the number of replicates and the seed.
    """
    draw, whole = np.random.default_rng([bootstrap.seed, 1]), float(trials.sum())
    hits = float(right.sum())
    if len(right) == 1:
        samples = draw.beta(hits + 0.5, whole - hits + 0.5, bootstrap.resamples)
        return wilson(hits, round(whole), confidence), samples
    of_answer = variance_of_answers(hits, whole)
    parts = [variance_of([((right - hits / whole * trials) / whole)[:, None]], False)]
    if shared := shared_part(np.unique(bootstrap.sets, return_counts=True)[1]):
        documents = float(trials[0])
        parts.append((of_answer / documents * shared, max(documents - 1, 1.0)))
    variance, degrees = combined(parts, least=of_answer / whole)
    spread, value = np.sqrt(variance), hits / whole
    half = quantile((1 + confidence) / 2, degrees) * spread
    samples = value + spread * students(draw, degrees, bootstrap.resamples)
    worth = of_answer / variance
    low, high = wilson(value * worth, worth, confidence)
    ends = max(0.0, min(low, value - half)), min(1.0, max(high, value + half))
    return ends, np.clip(samples, 0.0, 1.0)


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
