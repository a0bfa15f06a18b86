"""Benchmarks in the terminal: values with their units, and a column for each quantity."""

import pandas as pd
import pytest

from mecheval_jax.reporting.terminal import benchmarks


# Catches "270 m" of a share, and seconds where milliseconds are readable.
@pytest.mark.parametrize(
    ("number", "unit", "text"),
    [
        (0.0089, "s", "8.9 ms"),
        (27.0, "%", "27 %"),
        (0.95, "", "0.95"),
        (1.87, "x", "1.87 x"),
        (2.5e9, "B", "2.5 GB"),
        (12345.0, "", "12,345"),
        (999.7, "%", "1,000 %"),
    ],
)
def test_values_have_units(number, unit, text):
    assert benchmarks.value(number, unit) == text


# Catches a quantity under another's head where a row does not have all.
def test_absent_quantities_leave_a_gap(capsys):
    keys = ("part", "what", "quantity", "unit", "median")
    rows = [("step", "a", "time", "s", 1.0), ("step", "b", "size", "B", 2.0)]
    benchmarks.show_part(pd.DataFrame(rows, columns=keys))
    head, *lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert head == ["step", "time", "size"]
    assert lines == [["a", "1", "s", "-"], ["b", "-", "2", "B"]]
