"""Accuracy by property: counted again, queries by query."""

import numpy as np
import pytest

from mecheval_jax.evaluation.slices import COLUMNS, slice_accuracy
from mecheval_jax.statistics.intervals import wilson

DRAW = np.random.default_rng(0)
PROPERTIES = {
    "pairs": DRAW.choice([2, 5], size=(40, 3)).astype(np.int32),
    "distance": DRAW.integers(-1, 70, size=(40, 3), dtype=np.int32),  # -1: absent
}
CORRECT = DRAW.integers(0, 2, size=(40, 3)).astype(np.float32)
WEIGHTS = DRAW.integers(0, 2, size=(40, 3)).astype(np.float32)
BINS = [(0, 0), (1, 1), (2, 3), (4, 7), (8, 15), (16, 31), (32, 63), (64, 127)]


def sliced():
    return slice_accuracy(PROPERTIES, CORRECT, WEIGHTS, 0.9)


# Catches queries without weight or without the property that count, bins that overlap or leave a
# number out, and an interval of another confidence.
def test_slices_by_counting():
    expected = []
    for name, slices in (("pairs", [(2, 2), (5, 5)]), ("distance", BINS)):
        for low_value, high_value in slices:
            right = [
                float(CORRECT[place])
                for place in np.ndindex(WEIGHTS.shape)
                if WEIGHTS[place] and low_value <= PROPERTIES[name][place] <= high_value
            ]
            interval = wilson(sum(right), len(right), 0.9)
            row = (name, low_value, high_value, np.mean(right), *interval, len(right))
            expected.append(dict(zip(COLUMNS, row, strict=True)))
    found = sliced()
    assert [tuple(row) for row in found] == [COLUMNS] * len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours == pytest.approx(theirs)


# Catches slices of nothing: a division by zero queries.
def test_a_property_that_no_query_has():
    nowhere = {"distance": np.full((2, 1), -1, np.int32)}
    assert slice_accuracy(nowhere, np.ones((2, 1)), np.ones((2, 1)), 0.95) == []
