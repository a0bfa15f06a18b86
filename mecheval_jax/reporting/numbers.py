"""Numbers in words: scores, percentages, intervals and quantities with a unit.

The terminal, figures and pages write them alike.
"""

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

MISSING = "-"
"""Text of a missing number."""

UNITS = (
    (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""),
    (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"),
)  # fmt: skip
"""Prefixes of units, with what each stands for."""


def number(value: Any) -> str:
    """A score with two decimals, never -0.00; a dash if there is none."""
    return MISSING if value is None or pd.isna(value) else f"{value:z.2f}"


def percent(value: Any) -> str:
    """A fraction as a percentage, never -0.0%; a dash if there is none."""
    return MISSING if value is None or pd.isna(value) else f"{value:z.1%}"


def interval(row: Mapping[str, Any], text: Callable[[Any], str] = number) -> str:
    """``[low, high]``, with a dash for an open end; empty if there is neither."""
    ends = [row.get(end) for end in ("low", "high")]
    if all(end is None or pd.isna(end) for end in ends):
        return ""
    return f"[{', '.join(map(text, ends))}]"


def percents(row: Mapping[str, Any]) -> str:
    """``[low, high]`` as percentages; empty if there is none."""
    return interval(row, percent)


def quantity(value: Any, unit: str = "") -> str:
    """A number with three digits and a prefixed unit; a dash if there is no number."""
    if value is None or pd.isna(value):
        return MISSING
    if not value:
        return f"0 {unit}".rstrip()
    # With three digits 999.6 is a thousand.
    size, prefix = next(((s, p) for s, p in UNITS if abs(value) >= 0.9995 * s), (UNITS[-1]))
    return f"{value / size:.3g} {prefix}{unit}".rstrip()
