"""Cells of long tables: the place of a measurement, its value, interval and p-value."""

from typing import Any

import numpy as np

from mecheval_jax.site_path import SitePath
from mecheval_jax.statistics.bootstrap import Estimate
from mecheval_jax.statistics.false_discovery import discoveries, p_value
from mecheval_jax.statistics.intervals import wilson


def place_of(site: str) -> dict[str, Any]:
    """Layer, component and path of a site; the layer is None outside the blocks."""
    return {**vars(SitePath.parse(site)), "site": site}


Range = tuple[float, float]

SHARE: Range = (0.0, 1.0)
"""Where probabilities and shares of documents lie."""

SIZE: Range = (0.0, np.inf)
"""Where divergences lie, and other numbers without a sign."""

CORRELATION: Range = (-1.0, 1.0)
"""Where correlations lie."""


def describe(
    estimate: Estimate, confidence: float, tested: bool = True, within: Range | None = None
) -> dict[str, Any]:
    """Value, interval, documents and p-value of an estimate as cells of a row; None for unknown.

    Args:
        estimate: Number with its replicates.
        confidence: Confidence of the interval.
        tested: Whether it is tested against 0.
        within: Range of what can be at all, to which the interval is cut. Of few documents its ends
            are a value and so many times the spread, which knows of no bounds. The value itself is
            beyond the range by rounding alone, as a divergence of -2e-8 is, and is cut with it.
    """
    place = (estimate.value, *estimate.interval(confidence))
    if within is not None:
        place = tuple(float(np.clip(number, *within)) for number in place)
    p = p_value(estimate) if tested else np.nan
    numbers = dict(zip(("value", "low", "high"), place, strict=True)) | {"p_value": p}
    known = {name: None if np.isnan(number) else number for name, number in numbers.items()}
    return {"documents": estimate.documents, **known}


def describe_share(share: float, documents: int, confidence: float) -> dict[str, Any]:
    """Share of documents with Wilson's interval, as cells of a row; None for no documents."""
    if documents == 0:
        return {"value": None, "low": None, "high": None}
    low, high = wilson(share * documents, documents, confidence)
    return {"value": share, "low": low, "high": high}


def with_discoveries(table: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows with ``significant``, after a test of all together; None where there is no p-value.

    A value that is 0 in every document cannot be a discovery, and does not count as a test.
    """
    p_values = np.array([np.nan if row["p_value"] is None else row["p_value"] for row in table])
    tested = ~np.isnan(p_values)
    ends = ("value", "low", "high")
    constant = np.array([all(row.get(name) == 0 for name in ends) for row in table], bool)
    found = discoveries(np.where(constant, np.nan, p_values))
    return [
        row | {"significant": bool(found[i]) if tested[i] else None} for i, row in enumerate(table)
    ]
