"""Benchmarks in the terminal: a table for each part, and the ratios of two folders."""

from collections.abc import Sequence

import pandas as pd

from mecheval_jax.reporting.numbers import MISSING, quantity
from mecheval_jax.reporting.terminal.narrow import print_table
from mecheval_jax.reporting.terminal.tables import output, plain_table

WITHOUT_PREFIX = ("", "%", "x")
"""Units that take no prefix such as milli."""


def value(number: float, unit: str) -> str:
    """A number of three digits with its unit."""
    if unit in WITHOUT_PREFIX:
        digits = ",.3g" if abs(number) < 999.5 else ",.0f"  # with three digits that is a thousand
        return f"{number:{digits}} {unit}".rstrip()
    return quantity(number, unit)


def show_part(found: pd.DataFrame) -> None:
    """Print the rows of a part, of `benchmarks.record`, with a column for each quantity."""
    part, columns = found["part"].iloc[0], list(found["quantity"].unique())
    table = plain_table((part, *columns), (part,))
    for what, rows in found.groupby("what", sort=False):
        texts = map(value, rows["median"], rows["unit"])
        row = dict(zip(rows["quantity"], texts, strict=True))
        table.add_row(what, *(row.get(name, MISSING) for name in columns))
    print_table(output(), table)


def show_comparison(table: pd.DataFrame) -> None:
    """Print a table of `benchmarks.record.compare`."""
    names: Sequence[str] = ("part", "what", "quantity")
    shown = plain_table((*names, "before", "after", "ratio", "spread"), names)
    for row in table.to_dict("records"):
        texts = (value(row[name], row["unit"]) for name in ("before", "after"))
        spread = f"[{row['low']:.2f}, {row['high']:.2f}]"
        shown.add_row(*(row[name] for name in names), *texts, f"{row['ratio']:.2f}", spread)
    print_table(output(), shown)
