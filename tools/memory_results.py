"""Put analyses of memory of several runs into docs/results/memory, and draw capacity.

python -m tools.memory_results NAME=WORKDIR [NAME=WORKDIR ...]

Of each run the tables of `TABLES` are taken as far as it has them, and added to those that are
there under its name. The figure is drawn from the table alone.
"""

import pathlib
import sys
from collections.abc import Sequence

import pandas as pd

from mecheval_jax.files import write_table
from mecheval_jax.reporting.figures.look import Look, looking
from mecheval_jax.reporting.figures.memory_figures import capacity_over_bytes
from mecheval_jax.reporting.figures.saving import save

TABLES = {
    "capacity": ["recall", "threshold", "additive_threshold"],
    "overwriting": ["uncovered", "recovered", "trace"],
    "editing": ["accuracy", "change", "new_answer", "read", "closed_form_error", "interference"],
    "components": ["kept"],
    "generalization": ["accuracy", "floor"],
}
"""Analyses, and the metrics of each that are kept."""

FOLDER = pathlib.Path(__file__).parents[1] / "docs" / "results" / "memory"


def collect(runs: Sequence[tuple[str, pathlib.Path]], folder: pathlib.Path) -> None:
    """Write the tables of runs under their names, and draw the figure.

    Args:
        runs: Names and workdirs.
        folder: Folder of the tables.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for analysis, metrics in TABLES.items():
        path = folder / f"{analysis}.csv"
        parts = [pd.read_csv(path)] if path.exists() else []
        for name, workdir in runs:
            table = workdir / "analyses" / f"{analysis}.csv"
            if table.exists():
                rows = pd.read_csv(table)
                parts = [part[part["run"] != name] for part in parts]
                parts.append(rows[rows["metric"].isin(metrics)].assign(run=name))
        if parts:
            write_table(path, pd.concat([part.astype(object) for part in parts]))
    draw(folder)


def draw(folder: pathlib.Path) -> None:
    """Draw the figure of capacity from its table, if there is one."""
    if (folder / "capacity.csv").exists():
        with looking(Look(formats=("svg",))):
            save(capacity_over_bytes(pd.read_csv(folder / "capacity.csv")), folder, "capacity")


if __name__ == "__main__":
    given = [argument.partition("=") for argument in sys.argv[1:]]
    collect([(name, pathlib.Path(workdir)) for name, _, workdir in given], FOLDER)
