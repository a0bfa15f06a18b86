"""A comparison in the terminal: a table for each task, and what is left out."""

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

from mecheval_jax.reporting.numbers import MISSING, interval, number, percent
from mecheval_jax.reporting.terminal.narrow import print_table
from mecheval_jax.reporting.terminal.tables import output, plain_table
from mecheval_jax.reporting.terminal.text import Text
from mecheval_jax.store.left_out import told

WORDS = ("folder", "name", "metric", "verdict")
"""Columns of words; the others are numbers."""


def comparison_row(row: Mapping[str, Any]) -> dict[str, str]:
    """A row of ``comparison.csv`` in words; of what there is not, dashes."""
    ends = {"low": row["difference_low"], "high": row["difference_high"]}
    verdict = row["verdict"]
    return {
        "metric": row["metric"],
        "folder": row["folder"],
        "name": row["name"],
        "value": f"{percent(row['value'])} {interval(row, percent)}".rstrip(),
        "difference": f"{percent(row['difference'])} {interval(ends, percent)}".rstrip(),
        "floor": percent(row["floor"]),
        "verdict": MISSING if verdict is None else verdict,
        "probability": number(row["probability"]),
    }


def show_comparison(rows: Iterable[Mapping[str, Any]], left_out: Mapping[str, str]) -> None:
    """Print a comparison.

    Args:
        rows: Rows of ``comparison.csv``, section by section.
        left_out: Folders that are not compared, with the reason of each.
    """
    console = output()
    for task, section in itertools.groupby(rows, lambda row: row["task"]):
        listed = list(section)
        console.print(Text(f"task {task}"), soft_wrap=True)
        shown = plain_table(list(comparison_row(listed[0])), WORDS)
        for row in listed:
            cells = comparison_row(row).values()
            shown.add_row(*map(Text, cells))
        print_table(console, shown)
        for name in dict.fromkeys(row["against"] for row in listed if row["against"]):
            console.print(Text(f"differences are to {name}"), soft_wrap=True)
        console.print()
    for name, reason in left_out.items():
        console.print(Text(f"left out: {told(name, reason)}"), soft_wrap=True)
