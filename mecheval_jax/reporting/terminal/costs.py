"""Costs in the terminal: a line for each model, length and program, and the crossovers."""

import itertools
from collections.abc import Mapping
from typing import Any

import pandas as pd

from mecheval_jax.reporting.numbers import MISSING, quantity
from mecheval_jax.reporting.terminal.narrow import print_table
from mecheval_jax.reporting.terminal.tables import output, plain_table
from mecheval_jax.reporting.words import machine_words

WORDS = ("model", "program", "not measured because")
"""Columns of words; the others are numbers."""

HEADS = (
    "model", "tokens", "program", "flops\n/token", "temporary", "state", "time\n/token",
    "energy\n/token", "not measured because",
)  # fmt: skip
"""Heads of the columns of costs, narrow enough for a terminal of 80 columns."""


def cost_row(row: Mapping[str, Any]) -> list[str]:
    """The cells of one measurement."""
    return [
        str(row["model"]),
        f"{row['length']:,}",
        str(row["program"]),
        quantity(row["flops_per_token"]),
        quantity(row["temporary_bytes"], "B"),
        quantity(row["state_bytes"], "B"),
        quantity(row["seconds_per_token"], "s"),
        quantity(row["joules_per_token"], "J"),
        "" if row["reason"] is None or pd.isna(row["reason"]) else str(row["reason"]),
    ]


def crossover_line(row: Mapping[str, Any]) -> str:
    """One crossover in words."""
    what = "in state" if row["quantity"] == "state_bytes" else f"in {row['program']}"
    if pd.isna(row["length"]):
        return f"{row['model']} against {row['against']} {what}: {row['note']}"
    ends = [MISSING if pd.isna(row[end]) else f"{row[end]:,.0f}" for end in ("low", "high")]
    return (
        f"{row['model']} is cheaper than {row['against']} {what} from {row['length']:,.0f} tokens "
        f"on [{ends[0]}, {ends[1]}]"
    )


def show_costs(table: pd.DataFrame, crossovers: pd.DataFrame, machine: Mapping[str, Any]) -> None:
    """Print the results of `costs.measure`."""
    console = output()
    console.print(machine_words(machine))
    rows = [cost_row(row) for row in table.to_dict("records")]
    told = [any(cell not in ("", MISSING) for cell in column) for column in zip(*rows, strict=True)]
    shown = plain_table(itertools.compress(HEADS, told), WORDS, gap=1)
    for row in rows:
        shown.add_row(*itertools.compress(row, told))
    print_table(console, shown)
    for row in crossovers.to_dict("records"):
        console.print(crossover_line(row))
