"""Where one model becomes cheaper than another."""

import numpy as np
import pandas as pd
import pytest

from mecheval_jax.evaluation.cost.crossovers import (
    ALWAYS,
    NEVER,
    UNTOLD,
    crossover,
    crossover_rows,
)

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


def table(ours, theirs, spread=1.0, lengths=LENGTHS):
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
        for name, costs, states in (
            ("b", theirs, lengths),
            ("a", ours, np.full(len(lengths), 200.0)),
        )
        for length, cost, state in zip(lengths, costs, states, strict=True)
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


def test_cheaper_in_between_alone():
    """Catches a model called cheap up to a length that costs four times as much at the shortest."""
    costs = np.array([9.0, 1.0, 9.0]), np.array([2.0, 2.0, 2.0])
    time, _ = crossover_rows(table(*costs), "b")
    # By hand: ln(9/2) = 1.504 and ln(1/2) = -0.693, so 128 and 512 times 4 to a share of the way.
    assert (time["length"], time["note"]) == (None, "cheaper between 331 and 793 tokens")


def test_cheaper_at_short_lengths_alone():
    """Catches a model called dear at every length that is cheap at the short ones."""
    lengths = np.array([128.0, 256.0, 512.0, 1024.0])
    costs = np.array([1.0, 3.0, 9.0, 30.0]), np.array([2.0, 4.0, 8.0, 16.0])
    time, _ = crossover_rows(table(*costs, lengths=lengths), "b")
    # By hand: ln(3/4) = -0.288 at 256 and ln(9/8) = 0.118 at 512, so 256 * 2 ** (0.2877 / 0.4055).
    assert (time["length"], time["note"]) == (None, "cheaper up to 419 tokens")
    until_the_last = np.array([1.0, 3.0, 7.0, 16.0]), costs[1]
    time, _ = crossover_rows(table(*until_the_last, lengths=lengths), "b")
    assert time["note"] == "cheaper up to 1,024 tokens"


def test_what_the_spread_of_the_times_covers_is_not_told():
    """Catches one model called cheaper than another whose times are the same but for noise."""
    theirs = np.array([1.0, 2.0, 4.0])
    time, state = crossover_rows(table(np.array([0.9, 1.8, 3.9]), theirs, 1.5), "b")
    assert (time["length"], time["low"], time["high"]) == (None, None, None)
    assert time["note"] == UNTOLD
    assert state["length"] == pytest.approx(200)  # has no spread
    time, _ = crossover_rows(table(np.array([0.9, 1.1, 3.0]), theirs, 1.1), "b")
    assert time["note"] == f"{ALWAYS}, but the times overlap at 128"
    time, _ = crossover_rows(table(theirs, np.array([0.9, 1.1, 3.0]), 1.1), "b")
    assert time["note"] == f"{NEVER}, but the times overlap at 128"


def test_too_little_was_measured():
    """Catches a line through one point."""
    costs = table(np.full(3, 100.0), LENGTHS / 4)
    costs.loc[(costs["model"] == "a") & (costs["length"] > 128), ["seconds", "low", "high"]] = None
    time, _ = crossover_rows(costs, "b")
    assert time["length"] is None
    assert "fewer than two lengths" in time["note"]
