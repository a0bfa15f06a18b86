"""Variances of small groups, moderated by those of many.

Two or three runs hardly say how far runs like them lie apart: two that agree by chance look as if
all did. If many groups are known, their variances say what to expect of another one. By the model
of Smyth (2004, https://doi.org/10.2202/1544-6115.1027) the variance of each group is drawn from a
scaled inverse chi-square law,

    variance ~ prior variance * d0 / chi-square with d0 degrees,

so that the moderated variance of a group with the variance s2 on d degrees is

    (d0 * prior variance + d * s2) / (d0 + d)   with d0 + d degrees of freedom.

Groups that differ much in their variances have few degrees d0 in common, and each is then judged
nearly by itself. A group of one (d = 0) has the prior alone. The prior is estimated itself, so no
variance has more degrees than all groups have together, as in limma (Ritchie et al. 2015,
https://doi.org/10.1093/nar/gkv007).

How alike groups are, d0, is badly known, and whoever takes them to be more alike than they are
calls too much certain: by the moments of their logarithms, as limma has it, p-values of one in a
thousand come out two to eight times as often where there are ten to fifty groups. So d0 is the
smallest that the likelihood of all variances does not exclude at 95 %.

A group whose own variance is far above what the prior lets expect is no group of this kind, and is
judged by itself: its runs may fall into two sorts, as those of no other group do. (Phipson et al.
2016, https://doi.org/10.1214/16-AOAS920, give such groups a prior of fewer degrees.)
"""

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np

FEWEST_GROUPS = 5
"""Number of groups below which nothing is said of other groups."""

DEGREES = np.geomspace(0.1, 1_000, 81)
"""The d0 that are tried. Groups that are alike in all have more, which makes no difference."""

EXCLUDED = 1.92
"""Log-likelihood below the largest from which a d0 is excluded: half of chi-square's 95 %."""


UNLIKELY = 0.01
"""Probability of so large a variance below which the prior is not that of the group."""


class Prior(NamedTuple):
    """What is expected of the variance of a group.

    Attributes:
        variance: Prior variance.
        degrees: Its degrees of freedom; 0 if nothing is expected.
        pooled: Degrees of freedom of all groups that it was estimated from.
    """

    variance: float = 0.0
    degrees: float = 0.0
    pooled: float = float("inf")

    def moderated(self, variance: float, degrees: float) -> tuple[float, float]:
        """Moderated variance of a group, and its degrees of freedom; those are 0 if unknown."""
        whole = self.degrees + degrees
        if whole == 0:
            return 0.0, 0.0
        if self._is_foreign(variance, degrees):
            return variance, degrees
        both = (self.degrees * self.variance + degrees * variance) / whole
        return both, min(whole, self.pooled)

    def _is_foreign(self, variance: float, degrees: float) -> bool:
        """Whether a group's own variance is too large to be drawn from the prior."""
        from scipy.special import fdtrc  # imported late: training does not need it

        if not (self.degrees and degrees and self.variance):
            return False
        return bool(fdtrc(degrees, self.degrees, variance / self.variance) < UNLIKELY)

    def times(self, factor: float) -> "Prior":
        """The prior of a number that is this one times a factor."""
        return self._replace(variance=self.variance * factor**2)


UNKNOWN = Prior()
"""The prior where nothing is known of other groups."""


def prior_of(
    variances: Sequence[float],
    degrees: Sequence[float],
    smallest: float,
    groups: Sequence[Hashable] | None = None,
) -> Prior:
    """The prior that the variances of groups suggest.

    Args:
        variances: Variance of each group.
        degrees: Degrees of freedom of each variance, at least 1.
        smallest: Variance that smaller ones are raised to; it has to be above 0.
        groups: What each variance is of; those of one name are several numbers of the same group,
            which counts once. Each is a group of its own if None.
    """
    names = list(range(len(variances)) if groups is None else groups)
    each: dict[Hashable, list[float]] = {}
    for name, of_variance in zip(names, degrees, strict=True):
        each.setdefault(name, []).append(of_variance)
    if len(each) < FEWEST_GROUPS:
        return UNKNOWN
    raised, own = np.maximum(variances, smallest), np.asarray(degrees, float)
    weights = np.array([1 / len(each[name]) for name in names])
    likeliest = _likeliest(raised, own, weights)
    support = _log_likelihood(likeliest, raised, own, weights)
    chosen = int(np.argmax(support >= support.max() - EXCLUDED))
    pooled = float(sum(max(of_group) for of_group in each.values()))
    return Prior(float(likeliest[chosen]), float(DEGREES[chosen]), pooled)


def _likeliest(variances: np.ndarray, degrees: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The likeliest prior variance for each of `DEGREES`; it is between the variances' extremes.

    A variance over the prior one follows Fisher's F law. The derivative of the log-likelihood
    falls as the prior variance rises, so halving the range finds where it is 0.
    """
    low, high = (np.full(len(DEGREES), np.log(end(variances))) for end in (np.min, np.max))
    prior = DEGREES[:, None]
    for _ in range(50):
        middle = (low + high) / 2
        x = degrees * variances / (prior * np.exp(middle)[:, None])
        slope = (weights * ((degrees + prior) * x / (1 + x) - degrees)).sum(axis=1)
        low, high = np.where(slope > 0, middle, low), np.where(slope > 0, high, middle)
    return np.exp((low + high) / 2)


def _log_likelihood(
    prior_variances: np.ndarray, variances: np.ndarray, degrees: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Log-likelihood of each of `DEGREES` with its prior variance, up to a constant."""
    from scipy.special import betaln  # imported late: training does not need it

    prior = DEGREES[:, None]
    scale = degrees / (prior * prior_variances[:, None])
    each = degrees / 2 * np.log(scale) - (degrees + prior) / 2 * np.log1p(scale * variances)
    return (weights * (each - betaln(degrees / 2, prior / 2))).sum(axis=1)
