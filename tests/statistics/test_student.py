"""Student's t law, against tables and scipy."""

import math

import numpy as np
import pytest
import scipy.stats

from mecheval_jax.statistics.student import quantile, spread_evenly, students, tail


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


@pytest.mark.parametrize("degrees", [3.0, math.inf])
def test_evenly_spread_numbers_have_the_laws_own_quantiles(degrees):
    """Catches quantiles that hang on what was drawn, and an order that is no chance."""
    first, second = (spread_evenly(np.random.default_rng(i), degrees, 2_000) for i in (0, 1))
    for share in (0.0025, 0.5, 0.9):
        found = np.quantile(first, share)
        assert tail(float(found), degrees) == pytest.approx(1 - share, abs=5e-4)
    assert (np.sort(first) == np.sort(second)).all()
    ranks = [scipy.stats.rankdata(numbers) for numbers in (first, second)]
    assert abs(np.corrcoef(*ranks)[0, 1]) < 0.1
