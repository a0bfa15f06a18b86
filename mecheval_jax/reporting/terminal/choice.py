"""A choice among architectures in the terminal: three tables and the advice."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from mecheval_jax.reporting.numbers import MISSING, number, percent, percents, quantity
from mecheval_jax.reporting.terminal.narrow import print_table
from mecheval_jax.reporting.terminal.tables import output, plain_table
from mecheval_jax.reporting.terminal.text import Text
from mecheval_jax.store.choice import Advice

WORDS = ("architecture", "state", "verdict")
"""Columns of words; the others are numbers."""

SHAPE = ("architecture", "width")
ANSWERS = (*SHAPE, "accuracy", "trained on", "floor", "state", "runs")
MECHANISMS = (*SHAPE, "verdict", "probability", "agreement", "concentration", "circuit")
COSTS = (*SHAPE, "prefill", "training", "decode", "state size")
TABLES = (ANSWERS, MECHANISMS, COSTS)
"""Columns of the tables that are shown, each narrow enough for a terminal."""


def choice_row(row: Mapping[str, Any]) -> dict[str, str]:
    """A row of ``choice.csv`` in words; of what is not known, dashes."""

    def count(name: str, of: str) -> str:
        known = not (pd.isna(row[name]) or pd.isna(row[of]))
        return f"{row[name]:.0f}/{row[of]:.0f}" if known else MISSING

    state = str(row["state"]).replace("_", " ")
    return {
        "architecture": str(row["mixer"]),
        "width": str(row["width"]),
        "accuracy": f"{percent(row['accuracy'])} {percents(row)}".rstrip(),
        "trained on": percent(row["train_accuracy"]),
        "floor": percent(row["floor"]),
        "state": f"{state}, memorised" if row["memorised"] is True else state,
        "runs": count("learned", "members"),
        "verdict": MISSING if pd.isna(row["verdict"]) else str(row["verdict"]),
        "probability": number(row["probability"]),
        "agreement": number(row["agreement"]),
        "concentration": number(row["concentration"]),
        "circuit": count("circuit_edges", "edges"),
        "prefill": quantity(row["prefill_seconds"], "s"),
        "training": quantity(row["training_tokens_per_second"], "tokens/s"),
        "decode": quantity(row["decode_seconds"], "s"),
        "state size": quantity(row["state_bytes"], "B"),
    }


def show_choice(table: pd.DataFrame, advice: Advice) -> None:
    """Print a choice.

    Args:
        table: Rows of ``choice.csv``.
        advice: The advice that follows from it.
    """
    console = output()
    rows = [choice_row(row) for row in table.to_dict("records")]
    for columns in TABLES:
        shown = plain_table(columns, WORDS, gap=1)
        told = [name for name in columns if name not in SHAPE]
        for row in rows:  # without those that say nothing here
            if any(row[name] != MISSING for name in told):
                shown.add_row(*(Text(row[name]) for name in columns))
        print_table(console, shown)
        console.print()
    for paragraph in advice.paragraphs:
        console.print(Text(paragraph.text), soft_wrap=True)
        console.print()
    for run in advice.further_runs:
        told = f"{run.why}:\n  {run.command}"
        console.print(Text(told), soft_wrap=True)
