"""Student's t law; of infinite degrees of freedom the normal one.

scipy is imported late: training needs none of this.
"""

import functools
import math
from statistics import NormalDist

import numpy as np

_NORMAL = NormalDist()


def quantile(share: float, degrees: float) -> float:
    """Quantile of the law."""
    if math.isinf(degrees):
        return _NORMAL.inv_cdf(share)
    from scipy.special import stdtrit

    return float(stdtrit(degrees, share))


def tail(distance: float, degrees: float) -> float:
    """Probability that a number of the law lies further above its centre than `distance`."""
    if math.isinf(degrees):
        return math.erfc(distance / math.sqrt(2)) / 2
    from scipy.special import stdtr

    return float(stdtr(degrees, -distance))


def students(draw: np.random.Generator, degrees: float, size: int) -> np.ndarray:
    """Numbers [size] drawn from the law."""
    if math.isinf(degrees):
        return draw.normal(size=size)
    return draw.standard_t(degrees, size)


def spread_evenly(draw: np.random.Generator, degrees: float, size: int) -> np.ndarray:
    """The middles [size] of as many parts of the law with the same probability, in random order.

    Their quantiles are those of the law, whatever was drawn: the order alone is random, which
    matters where they are added to those of another law (a Latin hypercube: McKay, Beckman and
    Conover 1979).
    """
    return draw.permutation(_middles(degrees, size))


@functools.cache
def _middles(degrees: float, size: int) -> np.ndarray:
    from scipy.special import ndtri, stdtrit

    shares = (np.arange(size) + 0.5) / size
    return ndtri(shares) if math.isinf(degrees) else stdtrit(degrees, shares)
