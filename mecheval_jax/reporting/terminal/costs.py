"""Costs in the terminal: a line for each model, length and program, and the crossovers."""

import itertools
from collections.abc import Mapping
from typing import Any

import pandas as pd

from mecheval_jax.reporting.terminal.narrow import print_table
from mecheval_jax.reporting.terminal.tables import MISSING, output, plain_table

UNITS = (
    *((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, "")),
    *((1e-3, "m"), (1e-6, "µ"), (1e-9, "n")),
)

TITLES = {
    "training": "training",
    "prefill": "reading a document",
    "decode": "generating",
    "state": "state",
}
"""What costs are called on figures and pages, by the names that users give them."""

WORDS = ("model", "program", "not measured because")
"""Columns of words; the others are numbers."""

HEADS = (
    *("model", "tokens", "program", "flops\n/token", "temporary", "state", "time\n/token"),
    *("energy\n/token", "not measured because"),
)
"""Heads of the columns of costs, narrow enough for a terminal of 80 columns."""


def quantity(value: Any, unit: str = "") -> str:
    """A number with three digits and a prefixed unit; a dash if there is no number."""
    if value is None or pd.isna(value):
        return MISSING
    if not value:
        return f"0 {unit}".rstrip()
    # With three digits 999.6 is a thousand.
    size, prefix = next(((s, p) for s, p in UNITS if abs(value) >= 0.9995 * s), (UNITS[-1]))
    return f"{value / size:.3g} {prefix}{unit}".rstrip()


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


def machine_words(machine: Mapping[str, Any]) -> str:
    """The device of ``machine.json``, and as far as they are known its rates.

    They are its own, measured beside the costs: of large matrix products, and of memory.
    """
    words = str(machine.get("device", "a machine that is not named"))
    if "platform" in machine:
        words += f" ({machine['platform']})"
    rates = (
        ("float32 products", "matrix_gflops", ",.0f", "GFLOP/s"),
        ("memory", "memory_gbytes_per_second", ",.1f", "GB/s"),
    )
    known = [
        f"{what} {machine[name]:{form}} {unit}"
        for what, name, form, unit in rates
        if isinstance(machine.get(name), int | float)
    ]
    return f"{words}: {', '.join(known)}" if known else words


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
