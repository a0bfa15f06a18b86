"""Quantities in findings, with their replicates, and the claims that these support.

A mean over runs has replicates of Student's law: two or three runs hardly say how far seeds lie
apart, and replicates that were drawn among them would be certain of what two runs agree in by
chance. The variance between runs is moderated by that of all cells of the table
(`statistics.moderated`); of accuracies it is that of their logit, times p (1 - p). It is no smaller
than what documents alone give. Where nothing is known of other cells a single run decides nothing.
A quantity of one run, of which a finding says "every run", is about that run, and has the
replicates of its documents alone. Replicates are spread evenly over their law, so that no verdict
hangs on what was drawn; of differences, the order is, and moves a small p-value by a tenth or two.

A claim has two p-values, of the hypotheses that it is false and that it is true, counted among the
replicates (or from their law if none is on the other side). A published accuracy is the best of
several learning rates. Where a cell was run at one, or a rate with fewer runs is ahead, another may
do better: that it is low there neither contradicts a claim that it is high nor supports one that it
is low. Where rates with as many runs could not be told apart, the best of them was chosen by the
very seeds that are judged, and p-values of large numbers are multiplied by how many they are.

What is judged is a typical training. A few of those that mostly succeed fail outright (`measured.
failures`), which two or three seeds hardly show and no law around their mean foresees.
"""

import dataclasses
import math
import zlib
from collections.abc import Callable, Sequence

import numpy as np

from mecheval_jax.statistics.intervals import Interval, percentile_interval, variance_of_answers
from mecheval_jax.statistics.moderated import UNKNOWN, Prior
from mecheval_jax.statistics.student import quantile, spread_evenly, tail
from mecheval_jax.study.claims import UNTRIED, Claim, all_of

RESAMPLES = 20_000
CONFIDENCE = 0.95
WIDEST = 0.3
"""Width above which a prediction interval supports nothing by holding a published number."""


@dataclasses.dataclass(frozen=True)
class Quantity:
    """A number with its replicates.

    Attributes:
        name: Description in words.
        value: Value for the runs and documents as they are.
        samples: Replicates; None if there is no such run.
        runs: Number of runs that it rests on.
        one_run: Replicates of the prediction for one more run of 320 documents; None where that
            has no meaning.
        published: The study's value, twice, or the range of its runs; None if it shows none.
        degrees: Degrees of freedom of the spread of the replicates; 0 where that is not known.
        may_rise: Whether other learning rates, which were not run, may give a larger number.
        may_fall: Whether they may give a smaller one: a difference from a number that may rise.
        chosen: Number of learning rates of which the one was chosen whose runs answer most: by that
            choice the number may be large.
        chosen_against: The same of what is taken from it, by which a difference may be small.
        spread_of: `_variances` where the quantity is an accuracy by itself; None otherwise.
        combined: Numbers of runs of the quantities of which it is a sum or difference.
        widths: Widths of the models that it rests on.
    """

    name: str
    value: float = math.nan
    samples: np.ndarray | None = None
    runs: int = 0
    one_run: np.ndarray | None = None
    published: Interval | None = None
    degrees: float = math.inf
    may_rise: bool = False
    may_fall: bool = False
    chosen: int = 1
    chosen_against: int = 1
    spread_of: tuple[float, ...] | None = None
    combined: tuple[int, ...] = ()
    widths: frozenset[int] = frozenset()

    @property
    def fewest(self) -> int:
        """Number of runs of the quantity that has fewest, of those that it was computed from."""
        return min(self.combined, default=self.runs)

    def __sub__(self, other: "Quantity") -> "Quantity":
        turned = dataclasses.replace(
            other,
            may_rise=other.may_fall,
            may_fall=other.may_rise,
            chosen=other.chosen_against,
            chosen_against=other.chosen,
        )
        return self._with(turned, f"{self.name} less {other.name}", np.subtract)

    def __add__(self, other: "Quantity") -> "Quantity":
        return self._with(other, f"{self.name} plus {other.name}", np.add)

    def _with(self, other: "Quantity", name: str, operation: Callable) -> "Quantity":
        both, published = (self.published, other.published), None
        # The ends of two ranges may belong to different runs: only numbers are combined.
        if all(ends is not None and ends[0] == ends[1] for ends in both):
            published = (float(operation(*(ends[0] for ends in both if ends))),) * 2
        if self.samples is None or other.samples is None:
            return Quantity(name, published=published)
        samples = operation(self.samples, other.samples)
        return Quantity(
            name,
            float(operation(self.value, other.value)),
            samples,
            self.runs + other.runs,
            published=published,
            degrees=min(self.degrees, other.degrees),
            may_rise=self.may_rise or other.may_rise,
            may_fall=self.may_fall or other.may_fall,
            chosen=self.chosen * other.chosen,
            chosen_against=self.chosen_against * other.chosen_against,
            combined=(self.fewest, other.fewest),
            widths=self.widths | other.widths,
        )

    def interval(self, confidence: float = CONFIDENCE) -> Interval:
        """Percentiles of the replicates; for an extreme share they may exclude the share itself."""
        low, high = percentile_interval(self.samples, confidence)
        return min(low, self.value), max(high, self.value)

    def above(self, bound: float, part: str = "") -> Claim:
        """The claim that the quantity is above a bound."""
        return self._claim(f"{self.name} is above {bound:.3g}", part, bound, 1)

    def below(self, bound: float, part: str = "") -> Claim:
        """The claim that the quantity is below a bound."""
        return self._claim(f"{self.name} is below {bound:.3g}", part, bound, -1)

    def near(self, target: float, margin: float, part: str = "") -> Claim:
        """The claim that the quantity equals a number within a margin, by two one-sided tests."""
        both = self.above(target - margin, part), self.below(target + margin, part)
        text = f"{self.name} is {target:.3g} within {margin:.2g}"
        return all_of(text, both)

    def matches(self, number: float | None, part: str = "") -> Claim:
        """The claim that a published number lies in the prediction interval for one run.

        An interval wider than `WIDEST` supports nothing, and that of a single run contradicts
        nothing where no other cell tells of seeds; nor does one below the number, if it may rise.
        """
        shown = "a number" if number is None else f"{number:.1%}"
        text = f"one run of {self.name} may give the published {shown}"
        if self.one_run is None or number is None:
            return Claim(text, part, published=self.published)
        low, high = percentile_interval(self.one_run, CONFIDENCE)
        tails = [_tail(self.one_run, number, sign, self.degrees) for sign in (1, -1)]
        holds = low <= number <= high and high - low <= WIDEST
        unknown = low <= number <= high or not self.degrees
        outside = 1.0 if unknown else min(1.0, 2 * min(tails))
        claim = Claim(
            text, part, self.value, (low, high), 0.0 if holds else 1.0, outside, self.runs,
            self.published, fewest=self.fewest, widths=self.widths,
        )  # fmt: skip
        too_low = self.may_rise and high < number
        return dataclasses.replace(claim, if_true=1.0, note=UNTRIED) if too_low else claim

    def _claim(self, text: str, part: str, bound: float, sign: int) -> Claim:
        if self.samples is None or math.isnan(bound):
            return Claim(text, part, published=self.published)
        # The best of several looks better than it is: as many chances, as many times the p-value.
        times = {1: self.chosen, -1: self.chosen_against}
        samples = self._samples_at(bound, self.samples)
        p_values = (
            min(1.0, times[side] * _tail(samples, bound, side, self.degrees))
            for side in (sign, -sign)
        )
        claim = Claim(
            text, part, self.value, self.interval(), *p_values, self.runs, self.published,
            fewest=self.fewest, widths=self.widths,
        )  # fmt: skip
        holds = sign * (self.value - bound) > 0
        may_change = self.may_fall if holds == (sign > 0) else self.may_rise
        if not may_change:
            return claim
        return dataclasses.replace(claim, **{"if_false" if holds else "if_true": 1.0}, note=UNTRIED)

    def _samples_at(self, bound: float, samples: np.ndarray) -> np.ndarray:
        """Replicates with the spread that an accuracy would have at a bound, if that is larger.

        An accuracy that is near 0 or 1 by chance is thought to vary less than it does: what is
        tested is whether it lies at the bound.
        """
        if self.spread_of is None or not 0 < bound < 1:
            return samples
        slope, between, of_documents, _ = self.spread_of
        times = max(1.0, bound * (1 - bound) / slope)  # of the logit the variance stays the same
        wider = max(between * times**2, of_documents * times) / max(between, of_documents)
        return self.value + math.sqrt(wider) * (samples - self.value)


def _tail(samples: np.ndarray, bound: float, sign: int, degrees: float) -> float:
    """Share of replicates at the bound or beyond it: below it for `sign` 1; 1 without degrees."""
    if not degrees:
        return 1.0
    beyond = int((sign * (samples - bound) <= 0).sum())
    smallest = 1 / (len(samples) + 1)
    if beyond:
        return min(1.0, (beyond + 1) * smallest)
    # The middle says how wide the law is: its tails may have no variance. Of a share near 0 or 1
    # one half is cut off.
    low, middle, high = np.quantile(samples, (0.16, 0.5, 0.84))
    spread = float(max(high - middle, middle - low)) / quantile(0.84, degrees)
    if spread < 1e-9:
        return 0.0 if samples.min() == samples.max() else smallest
    return min(smallest, tail(sign * (float(middle) - bound) / spread, degrees))


def share(
    name: str,
    right: Sequence[float],
    of: Sequence[float],
    asked: int,
    prior: Prior = UNKNOWN,
) -> Quantity:
    """An accuracy over several runs.

    Args:
        name: Description in words.
        right: Number of right answers of each run.
        of: Number of all answers of each run.
        asked: Number of documents of the run that is predicted.
        prior: Variance between runs that other cells suggest, of the logit.
    """
    hits, trials = np.asarray(right, float), np.asarray(of, float)
    means = hits / trials
    draw, centre = _draw(name), float(means.mean())
    variances = _variances(hits, trials, prior)
    _, between, of_documents, degrees = variances
    if not degrees:
        samples = draw.beta(hits[0] + 0.5, trials[0] - hits[0] + 0.5, RESAMPLES)
        one_run = draw.binomial(asked, samples) / asked
        return Quantity(name, centre, samples, 1, one_run, degrees=0.0)
    runs = len(means)
    spread = math.sqrt(max(between, of_documents) / runs)
    samples = np.clip(centre + spread * spread_evenly(draw, degrees, RESAMPLES), 0.0, 1.0)
    new = centre + math.sqrt(between * (1 + 1 / runs)) * spread_evenly(draw, degrees, RESAMPLES)
    one_run = draw.binomial(asked, np.clip(new, 0.0, 1.0)) / asked
    return Quantity(name, centre, samples, runs, one_run, degrees=degrees, spread_of=variances)


def variances_of_share(
    right: Sequence[float], of: Sequence[float], prior: Prior
) -> tuple[float, float]:
    """Variance of the mean accuracy of runs, and that by their documents alone.

    Arguments are those of `share`.
    """
    hits, trials = np.asarray(right, float), np.asarray(of, float)
    _, between, of_documents, _ = _variances(hits, trials, prior)
    return max(between, of_documents) / len(hits), of_documents / len(hits)


def _variances(hits: np.ndarray, trials: np.ndarray, prior: Prior) -> tuple[float, ...]:
    """Of accuracies p of runs: p (1 - p); their variance, that by documents alone, its degrees."""
    slopes = variance_of_answers(hits, trials)
    slope = float(slopes.mean())
    between, degrees = _between(hits / trials, prior.times(slope))
    return slope, between, float((slopes / trials).mean()), degrees


def mean(
    name: str, values: Sequence[float], errors: Sequence[float], prior: Prior = UNKNOWN
) -> Quantity:
    """The mean of a measured number over several runs.

    Args:
        name: Description in words.
        values: Value of each run.
        errors: Standard error of each value, over documents.
        prior: Variance between runs that other cells suggest.
    """
    centres, spreads = np.asarray(values, float), np.asarray(errors, float)
    between, degrees = _between(centres, prior)
    if not degrees:
        return dataclasses.replace(one(name, values[0], errors[0]), degrees=0.0)
    spread = math.sqrt(max(between, float((spreads**2).mean())) / len(centres))
    samples = centres.mean() + spread * spread_evenly(_draw(name), degrees, RESAMPLES)
    return Quantity(name, float(centres.mean()), samples, len(centres), degrees=degrees)


def one(name: str, value: float, error: float, above: float | None = None) -> Quantity:
    """A number that was measured in one run, and is about that run.

    Args:
        name: Description in words.
        value: The number.
        error: Its standard error, over documents.
        above: The standard error of larger numbers, if it is another.
    """
    samples = spread_evenly(_draw(name), math.inf, RESAMPLES)
    samples = value + samples * np.where(samples > 0, error if above is None else above, error)
    return Quantity(name, float(value), samples, 1)


def _between(values: np.ndarray, prior: Prior) -> tuple[float, float]:
    """Moderated variance between runs, and its degrees of freedom."""
    runs = len(values)
    return prior.moderated(float(values.var(ddof=1)) if runs > 1 else 0.0, runs - 1)


def _draw(name: str) -> np.random.Generator:
    """Random numbers of a quantity, which do not depend on other quantities."""
    return np.random.default_rng(zlib.crc32(name.encode()))
