"""P-values of many numbers against 0, and the rate of false discoveries among them.

The two-sided p-value of an estimate is 2 P(T > |value| / s), where s is the standard deviation of
its bootstrap replicates and T of Student's law: a count of replicates on the other side of 0 could
not go below one over their number, too coarse for the hundreds of cells of a grid. It is no smaller
than that of n documents with the same sign, 2^(1 - n), however alike these are. Of m cells that are
tested together, sorted by p, all up to the last i with p_(i) <= i q / m are called significant
(Benjamini and Hochberg 1995): at most the share q of these is expected to be false. If each result
is read on its own, Holm's method bounds the chance of any false one.
"""

import math
import sys
from collections.abc import Sequence

import numpy as np

from mecheval_jax.statistics.bootstrap import FEWEST_UNITS, Estimate
from mecheval_jax.statistics.student import tail

RATE = 0.05
"""Expected share of false discoveries among the cells that a table calls significant."""

ROUNDING = 1e-5
"""Distance from 0 below which values may be rounding errors, repeated in every document."""


def p_value(estimate: Estimate) -> float:
    """Two-sided p-value against 0; NaN if there is no estimate, one document or no replicate."""
    if math.isnan(estimate.value) or estimate.documents < FEWEST_UNITS:
        return math.nan
    if abs(estimate.value) <= ROUNDING:
        return 1.0
    spread = estimate.spread
    if math.isnan(spread):
        return math.nan
    beyond = 2 * tail(abs(estimate.value) / spread, estimate.degrees) if spread > 0 else 0.0
    # No number of documents makes it 0, which would say that chance is excluded.
    return max(beyond, 2.0 ** (1 - estimate.documents), sys.float_info.min)


def discoveries(p_values: np.ndarray, rate: float = RATE) -> np.ndarray:
    """Which p-values are significant at a false discovery rate; NaNs are not tested."""
    significant = np.zeros(len(p_values), bool)
    tested = np.flatnonzero(~np.isnan(p_values))
    order = tested[np.argsort(p_values[tested], kind="stable")]
    passing = p_values[order] <= rate * np.arange(1, len(order) + 1) / max(len(order), 1)
    if passing.any():
        significant[order[: np.flatnonzero(passing)[-1] + 1]] = True
    return significant


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number, which bounds the chance of any false one (Holm 1979).

    The i-th smallest of m, from 0, is multiplied by m - i, and is no smaller than those before it.
    """
    order = np.argsort(p_values, kind="stable")
    times = np.arange(len(order), 0, -1)
    corrected = np.empty(len(order))
    corrected[order] = np.maximum.accumulate(np.minimum(1.0, np.asarray(p_values)[order] * times))
    return corrected.tolist()
