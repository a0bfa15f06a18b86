"""Rows that are taken from the long tables of a run (`columns`)."""

from typing import Any

import pandas as pd


def rows_with(table: pd.DataFrame, **values: Any) -> pd.DataFrame:
    """The rows of a table with certain values in certain columns."""
    return table[(table[list(values)] == pd.Series(values)).all(axis="columns")]


def newest(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the last step, in a table that may have several."""
    return table[table["step"] == table["step"].max()] if "step" in table else table


def attributions(table: pd.DataFrame, corruption: str, direction: str) -> pd.DataFrame:
    """The attribution rows of one corruption and direction, with numbers as floats."""
    place = {"corruption": corruption, "direction": direction}
    chosen = rows_with(table, metric="attribution", **place).copy()
    for column in chosen.columns.intersection(["value", "low", "high", "layer"]):
        # A column without any value holds None, and has the type object.
        chosen[column] = pd.to_numeric(chosen[column]).astype(float)
    return chosen


def residual_stream(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the residual stream: at the input of every layer, and behind the last one."""
    last = rows["layer"].max()
    inputs, outputs = (rows["component"] == name for name in ("block_input", "block_output"))
    return rows[inputs | (outputs & (rows["layer"] == last))]
