"""The folder of costs: what architectures cost over lengths of context, and on which machine.

cost.csv         a row for each model, length and program (`evaluation.cost`)
crossovers.csv   lengths from which on one model is cheaper than another
machine.json     the machine on which that was measured

It stands alone (`launch.cost`), or as ``cost`` in the folder of a run or of a sweep.
"""

import os
from collections.abc import Mapping
from typing import Any

import pandas as pd

from mecheval_jax.files import damaged, read_json, read_table, write_json, write_table
from mecheval_jax.store.folder import MACHINE_FILE, Folder
from mecheval_jax.store.remedies import COSTS_AGAIN
from mecheval_jax.store.row_selection import rows_with

NAME = "cost"
"""Name of the folder in that of a run or of a sweep."""

CROSSOVERS = ("model", "against", "program", "quantity", "length", "low", "high", "note")
"""Columns of ``crossovers.csv``."""

READ = dict.fromkeys(("model", "mixer", "program", "reason"), str)
READ |= dict.fromkeys(("width", "layers", "length", "flops_per_token", "bytes_per_token"), float)
READ |= dict.fromkeys(("seconds", "low", "high", "seconds_per_token", "state_bytes"), float)
READ |= dict.fromkeys(("tokens_per_second", "temporary_bytes", "joules_per_token"), float)
"""Columns of ``cost.csv`` that are read."""

MADE = (
    *("cost.md", "cost.tex", "crossovers.md", "crossovers.tex"),
    *("cost.png", "cost.svg", "cost.pdf"),
)
"""Files that are made of the tables."""

OWN = ("cost.csv", "crossovers.csv", *MADE)
"""Names by which a folder of costs is known."""

CROSSED = dict.fromkeys(("model", "against", "program", "quantity", "note"), str)
CROSSED |= dict.fromkeys(("length", "low", "high"), float)
"""Columns of ``crossovers.csv`` that are read."""


class CostFolder(Folder):
    """Paths and tables of a folder of costs."""

    def __init__(self, path: str | os.PathLike):
        super().__init__(path)
        self.costs = self.path / "cost.csv"
        self.crossovers = self.path / "crossovers.csv"
        self.machine = self.path / MACHINE_FILE

    def read_costs(self) -> pd.DataFrame | None:
        """Rows of ``cost.csv``; None where no costs were measured.

        Raises:
            UserError: If the table is damaged.
        """
        return read_table(self.costs, READ, COSTS_AGAIN) if self.costs.exists() else None

    def read_crossovers(self) -> pd.DataFrame | None:
        """Rows of ``crossovers.csv``, which is made of the costs and written after them, or None.

        Raises:
            UserError: If the table is damaged, or names a model whose costs are not there.
        """
        if not self.crossovers.exists():
            return None
        table, costs = read_table(self.crossovers, CROSSED, COSTS_AGAIN), self.read_costs()
        known = set() if costs is None else set(costs["model"])
        for name in (*table["model"], *table["against"]):
            if name not in known:
                there = ", ".join(sorted(known)) or "no model"
                why = f"it names the model {name}, and {self.costs.name} has {there}"
                raise damaged(self.crossovers, why, COSTS_AGAIN)
        return table

    def read_machine(self) -> dict[str, Any]:
        """The machine; empty where it is not known.

        Raises:
            UserError: If the file is damaged.
        """
        return read_json(self.machine, {"device?": str}, absent={}, remedy=COSTS_AGAIN)

    def begin(self, machine: Mapping[str, Any]) -> None:
        """Write the machine of the rows that come now; what was made of earlier ones is gone."""
        for name in (*MADE, self.crossovers.name):
            (self.path / name).unlink(missing_ok=True)
        self.write_machine(machine)

    def write_costs(self, table: pd.DataFrame) -> None:
        """Write ``cost.csv``."""
        write_table(self.costs, table)

    def write_crossovers(self, table: pd.DataFrame) -> None:
        """Write ``crossovers.csv``."""
        write_table(self.crossovers, table)

    def write_machine(self, machine: Mapping[str, Any]) -> None:
        """Write ``machine.json``."""
        write_json(self.machine, machine)


def rows_of(costs: pd.DataFrame, shape: Mapping[str, Any]) -> pd.DataFrame:
    """The rows of costs of one model, by its mixer, width and layers (`ModelConfig.shape`)."""
    return rows_with(costs, **shape)
