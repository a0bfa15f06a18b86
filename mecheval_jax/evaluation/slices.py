"""Accuracy by what a document is like: its length, its pairs, the distance to its key, ...

A task says which numbers its queries have (`tasks.base.Task.properties`). Every number is a slice
of its own; where a property has more than `MOST_VALUES` of them, slices are bins from a power of
two up to the next, 0 apart: 0, 1, 2-3, 4-7, ... Intervals count the queries of a document as
independent.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from mecheval_jax.array_types import Array, Float, Int
from mecheval_jax.statistics.intervals import wilson
from mecheval_jax.tasks.base import ABSENT

MOST_VALUES = 8
"""Values of a property that are slices of their own."""

COLUMNS = ("property", "low_value", "high_value", "accuracy", "low", "high", "queries")
"""Columns of ``slices.csv``; `low` and `high` are Wilson's interval of the accuracy."""


def slice_accuracy(
    properties: Mapping[str, Int[Array | np.ndarray, "batch queries"]],
    correct: Float[Array | np.ndarray, "batch queries"],
    weights: Float[Array | np.ndarray, "batch queries"],
    confidence: float,
) -> list[dict[str, Any]]:
    """Rows of `COLUMNS`, one for every slice of every property.

    Args:
        properties: Numbers of the queries, `ABSENT` where a query has none.
        correct: 1 for a right answer, 0 for a wrong one.
        weights: 0 for a query that does not count.
        confidence: Confidence of the intervals.
    """
    counts = np.asarray(weights) > 0
    rows = []
    for name, numbers in properties.items():
        known = counts & (np.asarray(numbers) != ABSENT)
        values, right = np.asarray(numbers)[known], np.asarray(correct)[known]
        for low_value, high_value in _bins(np.unique(values)):
            inside = (values >= low_value) & (values <= high_value)
            queries = int(inside.sum())
            share = float(right[inside].sum()) / queries
            interval = wilson(share * queries, queries, confidence)
            row = (name, low_value, high_value, share, *interval, queries)
            rows.append(dict(zip(COLUMNS, row, strict=True)))
    return rows


def _bins(values: np.ndarray) -> Iterator[tuple[int, int]]:
    """Slices that hold at least one of the sorted distinct values."""
    if len(values) <= MOST_VALUES:
        yield from ((int(value), int(value)) for value in values)
        return
    for power in sorted({int(value).bit_length() for value in values}):
        yield 2**power // 2, 2**power - 1
