"""Numbers in words."""

import pytest

from mecheval_jax.reporting.numbers import interval, percent, quantity


def test_nothing_has_no_sign():
    """Catches a difference of -0.0%, which looks like a loss."""
    assert percent(-0.0004) == "0.0%"
    assert percent(-0.0006) == "-0.1%"
    assert interval({"low": -0.0004, "high": 0.2}, percent) == "[0.0%, 20.0%]"


def test_an_interval_with_an_open_end():
    """Catches an interval that is left out where one of its ends alone is not known."""
    assert interval({"low": None, "high": 1.5}) == "[-, 1.50]"
    assert interval({"low": 0.5, "high": float("nan")}) == "[0.50, -]"
    assert interval({"low": float("nan"), "high": None}) == interval({}) == ""


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1234.0, "B", "1.23 kB"),
        (2.5e9, "", "2.5 G"),
        (3.21e12, "B", "3.21 TB"),
        (4e15, "", "4 P"),
        (3e-5, "s", "30 µs"),
        (2e-8, "s", "20 ns"),
        (7.0, "s", "7 s"),
        (999.6e-6, "s", "1 ms"),
        (999.4e-6, "s", "999 µs"),
        (0, "B", "0 B"),
        (0, "", "0"),
        (None, "s", "-"),
    ],
)
def test_quantities(value, unit, text):
    """Catches a prefix that is off by a thousand."""
    assert quantity(value, unit) == text
