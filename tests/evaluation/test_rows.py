"""Rows: where something was measured, and its value as cells."""

import numpy as np
import pytest

from mecheval_jax.evaluation.rows import (
    SHARE,
    SIZE,
    describe,
    describe_share,
    place_of,
    with_discoveries,
)
from mecheval_jax.statistics.bootstrap import Estimate
from mecheval_jax.statistics.intervals import wilson


def test_the_place_of_a_site():
    """Catches a layer that is cut off, and 0 for sites outside the blocks."""
    inside = {"layer": 1, "component": "mixer/q", "site": "block_1/mixer/q"}
    assert place_of("block_1/mixer/q") == inside
    assert place_of("embedding") == {"layer": None, "component": "embedding", "site": "embedding"}


def test_cells_of_an_estimate():
    """Catches NaN in a table, and a p-value of what is not tested."""
    samples = np.random.default_rng(0).normal(1.0, 0.1, 500)
    known = describe(Estimate(1.0, samples, 40), 0.9)
    assert (known["documents"], known["value"]) == (40, 1.0)
    assert (known["low"], known["high"]) == pytest.approx(
        np.quantile(samples, (0.05, 0.95)), abs=0.02
    )
    assert 0 <= known["p_value"] < 1e-6
    assert describe(Estimate(1.0, samples, 7), 0.9, tested=False)["p_value"] is None
    unknown = describe(Estimate(np.nan, samples, 7), 0.9)
    empty = {"value": None, "low": None, "high": None, "p_value": None}
    assert unknown == {"documents": 7} | empty


def test_an_interval_of_few_documents_ends_where_a_number_must():
    """Catches a probability of up to 1.07, a value outside its interval, an unknown of 0."""
    samples = np.random.default_rng(0).normal(0.6, 0.25, 500)
    few = Estimate(0.6, samples, 3, degrees=2.0)
    free, cut = describe(few, 0.95), describe(few, 0.95, within=SHARE)
    assert free["low"] < 0 < 1 < free["high"]
    assert cut == free | {"low": 0.0, "high": 1.0}
    above = describe(few, 0.95, within=SIZE)
    assert above == free | {"low": 0.0}
    rounded = describe(Estimate(-2e-8, np.full(9, -2e-8), 20), 0.95, within=SIZE)
    assert (rounded["low"], rounded["value"], rounded["high"]) == (0.0, 0.0, 0.0)
    unknown = describe(Estimate(0.6, samples, 1), 0.9, within=SHARE)
    assert (unknown["low"], unknown["high"]) == (None, None)


def test_cells_of_a_share():
    """Catches an interval of the share instead of the count, and a division by no documents."""
    low, high = wilson(3, 4, 0.9)
    assert describe_share(0.75, 4, 0.9) == {"value": 0.75, "low": low, "high": high}
    assert describe_share(np.nan, 0, 0.9) == {"value": None, "low": None, "high": None}


def test_what_is_not_tested_is_neither_significant_nor_not():
    """Catches untested rows that count among the tested ones."""
    rows = with_discoveries([{"p_value": p} for p in (0.001, None, 0.04, 0.9)])
    assert [row["significant"] for row in rows] == [True, None, False, False]


def test_what_is_0_by_construction_is_no_test():
    """Catches a family so large with cells that cannot differ from 0 that none is found."""
    zero = {"p_value": 1.0, "value": 0.0, "low": 0.0, "high": 0.0}
    rows = with_discoveries([{"p_value": 0.04}, *[zero] * 50])
    assert [row["significant"] for row in rows] == [True] + [False] * 50
