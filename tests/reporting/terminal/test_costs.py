"""Costs in words."""

import pytest

from mecheval_jax.reporting.terminal.costs import (
    crossover_line,
    machine_words,
    quantity,
    show_costs,
)
from tests.reporting.figures.test_cost_figures import COSTS, CROSSOVERS

MACHINE = {
    "device": "card",
    "platform": "gpu",
    "matrix_gflops": 1234.5,
    "memory_gbytes_per_second": 99.95,
}


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


def test_crossovers():
    """Catches an end that is not known shown as a number."""
    first, second = CROSSOVERS.to_dict("records")
    assert crossover_line(first) == (
        "mamba is cheaper than attention in decode from 1,000 tokens on [700, -]"
    )
    assert crossover_line(second) == "mamba against attention in state: cheaper at every length"


def test_a_machine_of_which_little_is_known():
    """Catches a file of an older version, without rates, that ends a report."""
    assert machine_words({}) == "a machine that is not named"
    assert machine_words({"device": "card", "matrix_gflops": None}) == "card"


def test_everything_is_shown(capsys):
    """Catches a row, a reason or the machine left out."""
    show_costs(COSTS, CROSSOVERS, MACHINE)
    shown = capsys.readouterr().out
    assert "1,234 GFLOP/s" in shown
    assert "needs 9 GB" in shown
    assert len(shown.splitlines()) == 1 + 2 + len(COSTS) + len(CROSSOVERS)


def test_a_reason_is_shown_as_it_is(capsys):
    """Catches words in brackets or between colons that are taken for commands of the terminal."""
    show_costs(COSTS.head(1).assign(reason="takes [batch] [/b] :key:"), CROSSOVERS, MACHINE)
    assert "takes [batch] [/b] :key:" in capsys.readouterr().out
