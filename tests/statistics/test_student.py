"""Student's t law, against tables and scipy."""

import math

import numpy as np
import pytest
import scipy.stats

from mecheval_jax.statistics.student import quantile, students, tail


def test_tails():
    """Catches the other tail, and the normal one for few degrees."""
    assert tail(12.706, 1) == pytest.approx(0.025, rel=1e-3)
    assert tail(1.95996, math.inf) == pytest.approx(0.025, rel=1e-3)
    assert tail(-1.0, 5) == pytest.approx(1 - tail(1.0, 5))


def test_quantiles_are_the_inverse_of_tails():
    """Catches the quantile of the other side, and degrees that are ignored."""
    for degrees in (1, 4, math.inf):
        for share in (0.025, 0.5, 0.9995):
            assert tail(quantile(share, degrees), degrees) == pytest.approx(1 - share)


@pytest.mark.parametrize("degrees", [3.0, math.inf])
def test_drawn_numbers_have_the_law(degrees):
    """Catches normal numbers where Student's are meant."""
    drawn = students(np.random.default_rng(0), degrees, 20_000)
    law = scipy.stats.t(degrees) if degrees < math.inf else scipy.stats.norm
    assert scipy.stats.kstest(drawn, law.cdf).pvalue > 0.01
