"""Tables at 60, 80 and 120 columns: no number is broken."""

import io

import pytest
from rich.console import Console
from rich.text import Text

from mecheval_jax.reporting.terminal.narrow import least_width, print_table
from mecheval_jax.reporting.terminal.tables import plain_table, run_row
from tests.support.reported_runs import SUMMARY


def printed(width, table):
    screen = io.StringIO()
    print_table(Console(file=screen, width=width, highlight=False), table)
    return screen.getvalue()


@pytest.fixture
def runs():
    table = plain_table(run_row("", {}), ("run", "mixer", "verdict"), title="runs")
    for name in ("a_run_with_a_long_name_of_its_own", "two"):
        table.add_row(*map(Text, run_row(name, SUMMARY | {"verdict": "direct_retrieval"}).values()))
    return table


@pytest.mark.parametrize("width", [60, 80, 120, 160])
def test_no_number_is_broken(runs, width):
    """Catches a cell that is cut or folded, and a line that the screen would fold."""
    text = printed(width, runs)
    assert text.count("91.2% [85.3%, 95.7%]") == 2
    assert text.count("direct_retrieval") == 2
    assert "\u2026" not in text
    assert max(map(len, text.splitlines())) <= width
    assert "runs" in text


def test_side_by_side_where_it_fits(runs):
    """Catches a list of lines on a screen that has room, and a table on one that has not."""
    wide = least_width(runs)
    assert len(printed(wide, runs).splitlines()) == 5  # title, heads, a long name, and two
    assert "accuracy" in printed(wide - 1, runs).splitlines()[4]
    assert len(printed(wide + 20, runs).splitlines()) == 4


def test_heads_of_two_lines_become_one():
    """Catches words that run together where a head is broken between them."""
    table = plain_table(("model", "share of\nan effect", "flops\n/token"), ("model",))
    table.add_row("a model of a long name", "0.5", "3 k")
    told = printed(least_width(table) - 1, table).splitlines()[1:]
    assert [line.rpartition("  ")[0].strip() for line in told] == [
        "share of an effect",
        "flops/token",
    ]
