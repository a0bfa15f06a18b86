"""Crossovers: the length of context from which on one model is cheaper than another.

Between two measured lengths a cost is interpolated as a power of the length, a straight line on
double logarithmic axes. The interval of a crossover comes from the spread of the measured times: at
its lower end the model has its shortest times and the other its longest, at its upper end the
reverse. Where these two disagree about which model is cheaper at a length, the times of the two
overlap there; if they do at every length, none is called cheaper.
"""

from typing import Any

import numpy as np
import pandas as pd

ALWAYS, NEVER = "cheaper at every length", "not cheaper at any length"
UNTOLD = "cannot be told: the times overlap at every length"


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
    return _crossing(lengths, ratio, int(above[-1]))  # the last length at which it is not cheaper


def cheaper_between(
    lengths: np.ndarray, ours: np.ndarray, theirs: np.ndarray
) -> tuple[float, float] | None:
    """Lengths between which `ours` is below `theirs`, which is not so at the last one.

    Args:
        lengths: Lengths in ascending order.
        ours: Costs of the model at these lengths, above 0.
        theirs: Costs of the other model.

    Returns:
        Two lengths, of which the first is 0 if the model is cheaper at the shortest one, too; of
        several such ranges the last. None if the model is cheaper at no length, or at the last.
    """
    ratio = np.log(ours) - np.log(theirs)
    below = np.flatnonzero(ratio < 0)
    if not len(below) or ratio[-1] < 0:
        return None
    last = int(below[-1])
    dearer = np.flatnonzero(ratio[:last] >= 0)
    begin = _crossing(lengths, ratio, int(dearer[-1])) if len(dearer) else 0.0
    return begin, _crossing(lengths, ratio, last)


def _crossing(lengths: np.ndarray, ratio: np.ndarray, i: int) -> float:
    """Length between one and the next at which the logarithm of a ratio of costs is 0."""
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
        is none: both were measured at fewer than two lengths, one is cheaper at all of them, the
        model is cheaper up to a length and not from one on, or their times overlap everywhere.
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
    medians, best, worst = (
        (both[a].to_numpy(float), both[f"{b}_other"].to_numpy(float))
        for a, b in ((quantity, quantity), (low, high), (high, low))
    )
    overlap = (best[0] < best[1]) & (worst[0] >= worst[1])
    if overlap.all():
        return row | {"note": UNTOLD}
    found = crossover(lengths, *medians)
    if 0 < found < np.inf:
        # An end beyond the measured lengths stays open.
        of_spread = (crossover(lengths, *costs) for costs in (best, worst))
        row["low"], row["high"] = (v if 0 < v < np.inf else None for v in of_spread)
        return row | {"length": found}
    between = cheaper_between(lengths, *medians)
    note = ALWAYS if found == 0 else NEVER
    if between is not None:
        begin, end = between
        places = f"between {begin:,.0f} and {end:,.0f}" if begin else f"up to {end:,.0f}"
        note = f"cheaper {places} tokens"
    if overlap.any():
        alike = ", ".join(f"{length:,.0f}" for length in lengths[overlap])
        note += f", but the times overlap at {alike}"
    return row | {"note": note}
