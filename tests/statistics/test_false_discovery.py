"""False discoveries and corrections for many tests, against definitions and in simulations."""

import numpy as np
import pytest
import scipy.stats

from mecheval_jax.statistics.bootstrap import Bootstrap, Estimate
from mecheval_jax.statistics.false_discovery import discoveries, holm, p_value


def test_false_discoveries_against_the_definition():
    """Catches Bonferroni, Holm, and a step-up that stops at the first failure."""
    p = np.array([0.039, 0.001, 0.041, np.nan, 0.008, 0.042, 0.6, 0.06])
    #  sorted 0.001 0.008 0.039 0.041 0.042 | 0.06 0.6: i q / m = 0.0071 i; 0.039 > 0.0214.
    np.testing.assert_array_equal(
        discoveries(p), [False, True, False, False, True, False, False, False]
    )
    known = p[~np.isnan(p)]
    theirs = scipy.stats.false_discovery_control(known, method="bh")
    for rate in (0.01, 0.05, 0.08, 0.5):
        np.testing.assert_array_equal(discoveries(known, rate), theirs <= rate)
    assert not discoveries(np.array([np.nan])).any()
    assert not discoveries(np.zeros(0)).any()


def test_the_rate_of_false_discoveries():
    """Catches p-values that are too small: null cells of a grid that are called significant."""
    draw, false, found = np.random.default_rng(0), 0, 0
    bootstrap, everyone = Bootstrap([320], 400, seed=0), np.ones(320, bool)
    for _ in range(40):
        # 20 cells where nothing happens, and 20 with an effect of 3 standard errors and more.
        effects = draw.normal(0, 0.2, (40, 320))
        effects[20:] += 0.2 * draw.uniform(3, 8, (20, 1)) / np.sqrt(320)
        p = np.array([p_value(bootstrap.mean(effect, everyone)) for effect in effects])
        called = discoveries(p)
        false, found = false + called[:20].sum(), found + called.sum()
    assert false / found < 0.05
    assert found > 0.8 * 40 * 20


def test_a_rounding_error_is_not_significant():
    """Catches cells in which nothing happened, to seven digits, on every document alike."""
    same = np.full(50, 3e-7)
    assert p_value(Bootstrap([50], 100, 0).mean(same, np.ones(50, bool))) == 1
    alike = p_value(Estimate(0.5, np.full(100, 0.5), 50))
    assert alike == pytest.approx(scipy.stats.binomtest(50, 50).pvalue)  # all of one sign
    assert p_value(Estimate(0.5, np.full(100, 0.5), 5000)) > 0  # 2 to the -4999 is none of a double
    assert np.isnan(p_value(Estimate(0.5, np.full(100, 0.5), 1)))  # one document has no spread
    assert np.isnan(p_value(Estimate(np.nan, np.full(100, np.nan), 0)))


@pytest.mark.parametrize("documents", [2, 3, 5, 10])
def test_few_documents_are_no_more_often_significant(documents):
    """Catches a normal law for two or three documents, and spreads that are too small by n - 1."""
    draw, everyone = np.random.default_rng(documents), np.ones(documents, bool)
    bootstrap = Bootstrap([documents], 400, seed=1)
    drawn = draw.normal(0, 1, (400, documents))
    false = np.mean([p_value(bootstrap.mean(values, everyone)) < 0.05 for values in drawn])
    assert false <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 400)


def test_holm_by_hand():
    """Catches Bonferroni, Benjamini and Hochberg, and values that come back in another order."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_no_more_false_ones_than_asked_for():
    """Catches a correction that lets one of many true hypotheses fall too often."""
    draw = np.random.default_rng(0)
    false = sum(min(holm(draw.uniform(size=30).tolist())) <= 0.05 for _ in range(1000))
    assert false <= 75
