"""Corrections for many tests at once."""

import numpy as np
import pytest

from mecheval_jax.statistics.false_discovery import holm


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
