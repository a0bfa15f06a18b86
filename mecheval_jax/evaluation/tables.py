"""Long tables of evidence: one measured value a row."""

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from mecheval_jax.evaluation.attribution import Scores, rows

COLUMNS = (
    "run",
    "mixer",
    "width",
    "layers",
    "learning_rate",
    "seed",
    "step",
    "split",
    "corruption",
    "direction",
    "layer",
    "component",
    "site",
    "role",
    "metric",
    "value",
    "low",
    "high",
    "documents",
)
"""Columns of ``interchange.csv``."""


def interchange_table(scores: Scores, constants: Mapping[str, Any]) -> pd.DataFrame:
    """The rows of a grid with what they have in common, in the order of `COLUMNS`."""
    table = pd.DataFrame(rows(scores)).assign(**constants)[list(COLUMNS)]
    table["layer"] = table["layer"].astype("Int64")  # embedding and final_norm have none
    return table


def long_table(found: Iterable[Mapping[str, Any]], constants: Mapping[str, Any]) -> pd.DataFrame:
    """Rows of any kind of evidence, with what they have in common in the first columns."""
    table = pd.DataFrame(found)
    table = table.assign(**constants)[[*constants, *table.columns]]
    if "layer" in table:
        table["layer"] = table["layer"].astype("Int64")
    return table
