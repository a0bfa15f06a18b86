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

How alike the groups are is estimated too, and by few of them badly: where they look more alike than
they are, p-values of one in a thousand come out several times as often. So they are taken to differ
by `STANDARD_ERRORS` more than they were seen to; p-values are then what they say, or nearly, for
priors of any degrees, from `FEWEST_GROUPS` groups on.
"""

import math
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np

FEWEST_GROUPS = 10
"""Number of groups below which nothing is said of other groups."""

STANDARD_ERRORS = 2.0
"""Standard errors by which the variance of the groups' logarithms is taken to be larger."""


class Prior(NamedTuple):
    """What is expected of the variance of a group.

    Attributes:
        variance: Prior variance.
        degrees: Its degrees of freedom; 0 if nothing is expected, infinite if all groups are alike.
        pooled: Degrees of freedom of all groups that it was estimated from.
    """

    variance: float = 0.0
    degrees: float = 0.0
    pooled: float = math.inf

    def moderated(self, variance: float, degrees: float) -> tuple[float, float]:
        """Moderated variance of a group, and its degrees of freedom; those are 0 if unknown."""
        if math.isinf(self.degrees):
            return self.variance, self.pooled
        whole = self.degrees + degrees
        if whole == 0:
            return 0.0, 0.0
        both = (self.degrees * self.variance + degrees * variance) / whole
        return both, min(whole, self.pooled)

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
    """The prior that the variances of groups suggest: the moments of their logarithms.

    Args:
        variances: Variance of each group.
        degrees: Degrees of freedom of each variance, at least 1.
        smallest: Variance that smaller ones are raised to; it has to be above 0.
        groups: What each variance is of; those of one name are several numbers of the same group,
            which counts once. Each is a group of its own if None.
    """
    names = range(len(variances)) if groups is None else groups
    each: dict[Hashable, float] = {}
    for name, own in zip(names, degrees, strict=True):
        each[name] = max(own, each.get(name, 0.0))
    if len(each) < FEWEST_GROUPS:
        return UNKNOWN
    from scipy.optimize import brentq  # imported late: training does not need them
    from scipy.special import digamma, polygamma

    pooled, halves = float(sum(each.values())), np.asarray(degrees, float) / 2
    logs = np.log(np.maximum(variances, smallest)) - digamma(halves) + np.log(halves)
    most = logs.var(ddof=1) * (1 + STANDARD_ERRORS * math.sqrt(2 / (len(each) - 1)))
    spread = float(most - polygamma(1, halves).mean())
    if spread <= 1e-6:
        return Prior(math.exp(logs.mean()), math.inf, pooled)
    half = float(brentq(lambda d: float(polygamma(1, d)) - spread, 1e-3, 1e6))
    variance = math.exp(logs.mean() + float(digamma(half)) - math.log(half))
    return Prior(variance, 2 * half, pooled)
