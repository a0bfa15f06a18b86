"""Costs in the terminal."""

from mecheval_jax.reporting.terminal.costs import crossover_line, show_costs
from tests.reporting.figures.test_cost_figures import COSTS, CROSSOVERS

MACHINE = {
    "device": "card",
    "platform": "gpu",
    "matrix_gflops": 1234.5,
    "memory_gbytes_per_second": 99.95,
}


def test_crossovers():
    """Catches an end that is not known shown as a number."""
    first, second = CROSSOVERS.to_dict("records")
    assert crossover_line(first) == (
        "mamba is cheaper than attention in decode from 1,000 tokens on [700, -]"
    )
    assert crossover_line(second) == "mamba against attention in state: cheaper at every length"


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
