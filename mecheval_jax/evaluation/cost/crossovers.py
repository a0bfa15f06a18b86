"""Crossovers: the length of context from which on one model is cheaper than another.

Between two measured lengths a cost is interpolated as a power of the length, a straight line on
double logarithmic axes. The interval of a crossover comes from the spread of the measured times: at
its lower end the model has its shortest times and the other its longest, at its upper end the
reverse.
"""

from typing import Any

import numpy as np
import pandas as pd

ALWAYS, NEVER = "cheaper at every length", "not cheaper at any length"


def crossover(lengths: np.ndarray, ours: np.ndarray, theirs: np.ndarray) -> float:
    """Length from which on `ours` is below `theirs`.

    Args:
        lengths: Lengths in ascending order.
        ours: Costs of the model at these lengths, above 0.
        theirs: Costs of the other model.

    Returns:
        A length between two measured ones; 0 if the model is cheaper at all lengths, infinity if it
        is not cheaper at the last one.
    """
    ratio = np.log(ours) - np.log(theirs)
    if ratio[-1] >= 0:
        return np.inf
    above = np.flatnonzero(ratio >= 0)
    if not len(above):
        return 0.0
    i = above[-1]  # last length at which it is not cheaper
    share = ratio[i] / (ratio[i] - ratio[i + 1])
    steps = np.log(lengths[i]), np.log(lengths[i + 1])
    return float(np.exp(steps[0] + share * (steps[1] - steps[0])))


def crossover_rows(table: pd.DataFrame, against: str) -> list[dict[str, Any]]:
    """Crossovers of every model of a table of costs with one of them.

    Args:
        table: Rows of `measure.cost_rows`.
        against: Name of the model that the others are compared with.

    Returns:
        A row for each other model and quantity: the length with its interval, or a note why there
        is none: both were measured at fewer than two lengths, or one is cheaper at all of them.
    """
    rows = []
    for name in table["model"].unique():
        if name == against:
            continue
        for program in table["program"].unique():
            rows.append(_row(table, (name, against), program, "seconds"))
        rows.append(_row(table, (name, against), table["program"].iloc[0], "state_bytes"))
    return rows


def _row(
    table: pd.DataFrame, names: tuple[str, str], program: str, quantity: str
) -> dict[str, Any]:
    """The crossover of two models in one quantity."""
    ends = ("low", "high") if quantity == "seconds" else (quantity, quantity)
    columns = ["length", quantity, *dict.fromkeys(ends)]
    ours, theirs = (
        table[(table["model"] == name) & (table["program"] == program)][
            list(dict.fromkeys(columns))
        ].dropna()
        for name in names
    )
    both = ours.merge(theirs, on="length", suffixes=("", "_other")).sort_values("length")
    row = {
        "model": names[0],
        "against": names[1],
        "program": program if quantity == "seconds" else None,
        "quantity": quantity,
        **dict.fromkeys(("length", "low", "high", "note")),
    }
    if len(both) < 2:
        return row | {"note": "measured together at fewer than two lengths"}
    low, high = ends
    lengths = both["length"].to_numpy(float)
    found = [
        crossover(lengths, both[a].to_numpy(float), both[f"{b}_other"].to_numpy(float))
        for a, b in ((quantity, quantity), (low, high), (high, low))
    ]
    if found[0] == 0.0:
        row["note"] = ALWAYS
    elif found[0] == np.inf:
        row["note"] = NEVER
    else:
        row["length"] = found[0]
    # An end beyond the measured lengths stays open.
    row["low"], row["high"] = (v if 0 < v < np.inf else None for v in found[1:])
    return row
