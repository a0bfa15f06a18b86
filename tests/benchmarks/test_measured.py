"""Quantities with their units, and ratios of them."""

import pytest

from mecheval_jax.benchmarks.measured import (
    TIMES,
    Measured,
    in_turn,
    measured_in_turn,
    ratio,
    times,
)


# Catches a time that is not divided by what was done in it, and calls that are not counted.
def test_times_are_of_one_thing():
    calls = []
    found = times("steps", "time", lambda: calls.append(0), repeats=3, per=10)
    assert len(calls) == 4  # one to compile
    assert len(found.values) == 3
    assert all(0 <= value < 0.1 for value in found.values)


# Catches contenders that do not take turns, and a first round that is counted.
def test_rounds_go_in_turn():
    calls = []
    runs = {name: lambda name=name: calls.append(name) for name in ("a", "b")}
    times = in_turn(runs, 2, per=4)
    assert calls == ["a", "b"] * 3
    assert {name: len(spent) for name, spent in times.items()} == {"a": 2, "b": 2}


# Catches times under another form's name.
def test_forms_of_a_program_go_in_turn():
    calls = []
    runs = {name: lambda name=name: calls.append(name) for name in ("fft", "toeplitz")}
    found = measured_in_turn("length 32", runs, 3)
    assert calls == ["fft", "toeplitz"] * 4
    assert [(row.what, row.quantity) for row in found.values()] == [
        ("length 32", "fft"),
        ("length 32", "toeplitz"),
    ]


# Catches a ratio of medians, which hides the spread, and one the wrong way round.
def test_ratios_are_of_pairs():
    slow, fast = Measured("a", "x", (4.0, 9.0)), Measured("b", "y", (2.0, 3.0))
    found = ratio(slow, fast)
    assert (found.what, found.values, found.unit) == ("b", (2, 3), TIMES)
    with pytest.raises(ValueError, match="zip"):
        ratio(slow, Measured("b", "y", (1.0,)))


# Catches a row whose extremes are not those of its values.
def test_a_row_has_the_extremes():
    row = Measured("a", "x", (3.0, 1.0, 2.0), "B").row("step")
    assert (row["median"], row["low"], row["high"], row["values"]) == (2, 1, 3, 3)
    assert (row["part"], row["what"], row["quantity"], row["unit"]) == ("step", "a", "x", "B")
