"""Where one model becomes cheaper than another."""

import numpy as np
import pandas as pd
import pytest

from mecheval_jax.evaluation.cost.crossovers import ALWAYS, NEVER, crossover, crossover_rows

LENGTHS = np.array([128.0, 512.0, 2048.0])


@pytest.mark.parametrize(
    ("ours", "low", "high"),
    [
        (np.full(3, 100.0), 399.9, 400.1),  # theirs is a quarter of the length
        (np.full(3, 1.0), 0, 0),
        (np.full(3, 1e6), np.inf, np.inf),
        (LENGTHS / 4, np.inf, np.inf),
        (np.array([1.0, 1e3, 1.0]), 512, 2048),
    ],
    ids=["between", "always", "never", "alike", "back and forth"],
)
def test_by_hand(ours, low, high):
    """Catches interpolation on another scale, and the first crossing where the last one counts."""
    assert low <= crossover(LENGTHS, ours, LENGTHS / 4) <= high


def table(ours, theirs, spread=1.0):
    """Costs of two models, times from 1/spread to spread times the median."""
    rows = [
        {
            "model": name,
            "program": "decode",
            "length": int(length),
            "seconds": cost,
            "low": cost / spread,
            "high": cost * spread,
            "state_bytes": state,
        }
        for name, costs, states in (("b", theirs, LENGTHS), ("a", ours, np.full(3, 200.0)))
        for length, cost, state in zip(LENGTHS, costs, states, strict=True)
    ]
    return pd.DataFrame(rows)


def test_rows_have_intervals_from_the_spread():
    """Catches an interval that is turned around, or that has nothing to do with the times."""
    time, state = crossover_rows(table(np.full(3, 100.0), LENGTHS / 4, 1.2), "b")
    assert (time["model"], time["against"], time["quantity"]) == ("a", "b", "seconds")
    assert time["length"] == pytest.approx(400)
    assert time["low"] == pytest.approx(400 / 1.44)
    assert time["high"] == pytest.approx(400 * 1.44)
    assert state["length"] == state["low"] == state["high"] == pytest.approx(200)
    assert state["program"] is None


@pytest.mark.parametrize(("cost", "note"), [(1.0, ALWAYS), (1e6, NEVER)])
def test_one_is_cheaper_throughout(cost, note):
    """Catches a length that was not measured."""
    time, _ = crossover_rows(table(np.full(3, cost), LENGTHS / 4), "b")
    assert (time["length"], time["note"]) == (None, note)


def test_too_little_was_measured():
    """Catches a line through one point."""
    costs = table(np.full(3, 100.0), LENGTHS / 4)
    costs.loc[(costs["model"] == "a") & (costs["length"] > 128), ["seconds", "low", "high"]] = None
    time, _ = crossover_rows(costs, "b")
    assert time["length"] is None
    assert "fewer than two lengths" in time["note"]
