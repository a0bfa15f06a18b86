"""Long tables of evidence: one measured value a row."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

RUN = ("run", "mixer", "width", "layers", "learning_rate", "seed", "step", "split")
"""Columns that say which run, and which of its steps."""

PLACE = ("corruption", "direction", "layer", "component", "site", "role")
MEASURED = ("metric", "value", "low", "high", "documents", "p_value", "significant")

INTERCHANGE = (*RUN, *PLACE, *MEASURED)
"""Columns of ``interchange.csv``."""

CONTROLS = (*RUN, "control", *PLACE, *MEASURED)
"""Columns of ``controls.csv``."""

TRANSITIONS = (
    *(name for name in RUN if name != "step"),
    "before",
    "after",
    "metric",
    *MEASURED[1:5],
)
"""Columns of ``transitions.csv``; the values are training steps."""


def long_table(
    rows: Iterable[Mapping[str, Any]],
    constants: Mapping[str, Any],
    columns: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Rows with what they have in common, in the order of the columns (as they come if None)."""
    table = pd.DataFrame([{**constants, **row} for row in rows], columns=columns)
    if "layer" in table:
        table["layer"] = table["layer"].astype("Int64")  # embedding and final_norm have none
    return table
