"""Run folders for reports: all that a folder holds so far, read and checked."""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from mecheval_jax.errors import UserError, choose
from mecheval_jax.evaluation.config import DIRECTIONS
from mecheval_jax.experiment import Experiment
from mecheval_jax.files import damaged, read_table
from mecheval_jax.store.columns import PLACE
from mecheval_jax.store.left_out import LeftOut
from mecheval_jax.store.remedies import written_by
from mecheval_jax.store.row_selection import newest
from mecheval_jax.store.run_folder import RunFolder

NUMBERS = ("step", "layer", "value", "low", "high")
NEEDED = dict.fromkeys((*PLACE, "metric"), str) | dict.fromkeys(NUMBERS, float)
"""Columns of ``interchange.csv`` that are read."""

CONTROLS = NEEDED | {"control": str}
"""Columns of ``controls.csv`` that are read."""

WORDS = ("step", *(name for name in PLACE if name != "layer"), "metric")
"""Those of them that every row has; the embedding is in no layer."""

ANALYSIS = dict.fromkeys(("run?", "corruption?", "role?", "target?"), str)
ANALYSIS |= dict.fromkeys(("source_token?", "destination_token?"), str)
"""Columns of the tables of analyses that hold names which may look like numbers."""

ATTENTION = dict.fromkeys(("matrix", "source_token"), str)
ATTENTION |= dict.fromkeys(("destination", "source", "value"), float)
"""Columns of the table of the analysis ``attention`` that are read."""

TOKENS = {"keep_default_na": False}
"""How that table is read: a token may be called "nan", or be empty."""


@dataclasses.dataclass(frozen=True)
class Reported:
    """The content of a run folder so far.

    Attributes:
        name: Name of the run in this report.
        folder: Folder of the run.
        experiment: Experiment of the run.
        config: Config as plain values, with the defaults of fields that an older file lacks.
        provenance: Content of ``provenance.json``; empty if there is none.
        summary: Content of ``summary.json``; empty if there is none.
        metrics: Rows of ``metrics.jsonl``.
        table: Last step of ``interchange.csv``; None if there is none.
        history: All steps of ``interchange.csv``; None if there is only one.
        home: Folder that its tables and figures are written into.
    """

    name: str
    folder: RunFolder
    experiment: Experiment
    config: dict[str, Any]
    provenance: dict[str, Any]
    summary: dict[str, Any]
    metrics: list[dict[str, Any]]
    table: pd.DataFrame | None
    history: pd.DataFrame | None
    home: pathlib.Path

    @property
    def floors(self) -> dict[str, float]:
        """Accuracies of heuristics without recall, if they are known."""
        return self.summary.get("floors", {})

    @property
    def figures(self) -> pathlib.Path:
        """Folder of its figures."""
        return self.home / self.folder.figures.name

    @property
    def steps(self) -> int:
        """Number of training steps of the whole run."""
        return self.config["training"]["steps"]


def read(folder: RunFolder, name: str) -> Reported:
    """The content of a folder so far.

    Args:
        folder: Folder of a run.
        name: Name of the run in the report.

    Raises:
        UserError: If it holds no run, or a damaged file.
    """
    experiment = folder.experiment()
    table = _read_interchange(folder) if folder.interchange.exists() else None
    return Reported(
        name,
        folder,
        experiment,
        experiment.as_dict(),
        folder.read_provenance(),
        folder.read_summary(),
        folder.read_metrics(),
        None if table is None else newest(table),
        table if table is not None and table["step"].nunique() > 1 else None,
        folder.path,
    )


def read_all(folders: Sequence[RunFolder], left_out: LeftOut) -> list[Reported]:
    """All runs that can be read.

    Args:
        folders: Folders of runs; if there is only one, its damage is an error.
        left_out: Where the others are noted.

    Raises:
        UserError: If none can be read.
    """
    if len(folders) == 1:
        return [read(folder, name) for folder, name in zip(folders, names(folders), strict=True)]
    found = [
        left_out.part(name, functools.partial(read, folder, name), None)
        for folder, name in zip(folders, names(folders), strict=True)
    ]
    runs = [run for run in found if run is not None]
    if not runs:
        reason = next(iter(left_out.values()), "the sweep has no member yet")
        raise UserError(f"no run that can be reported: {reason}")
    return runs


def _read_interchange(folder: RunFolder) -> pd.DataFrame:
    path, remedy = folder.interchange, written_by("intervene")
    table = read_table(path, NEEDED, remedy)
    try:
        for name in WORDS:
            if table[name].isna().any():
                raise UserError(f"a row without its {name}")
        for direction in table["direction"].unique():
            choose("direction", direction, DIRECTIONS)
        for corruption in table["corruption"].unique():
            if not str(corruption).isidentifier():  # it becomes part of a file's name
                raise UserError(f"corruption {corruption!r} is no role")
    except ValueError as error:
        raise damaged(path, error, remedy) from None
    return table


def read_analysis(path: pathlib.Path, columns: Mapping[str, Any] | None = None) -> pd.DataFrame:
    """A table of an analysis.

    Args:
        path: The file, which has the name of the analysis.
        columns: Columns that it must have, as `files.read_table` takes them.

    Raises:
        UserError: If it is damaged.
    """
    how = TOKENS if path.stem == "attention" else {}
    return read_table(path, {**ANALYSIS, **(columns or {})}, written_by("evaluate"), **how)


def names(folders: Sequence[RunFolder]) -> list[str]:
    """Folder names, with as many parents as it takes to tell them apart."""
    parts = [pathlib.Path(os.path.realpath(folder.path)).parts for folder in folders]
    depths = range(1, max(map(len, parts), default=0) + 1)
    named = (["/".join(part[-depth:]) for part in parts] for depth in depths)
    return next((names for names in named if len(set(names)) == len(names)), [])
