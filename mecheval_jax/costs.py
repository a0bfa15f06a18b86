"""Costs of architectures, measured and written into a folder: tables, figure, machine."""

import dataclasses
import os
import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from mecheval_jax.console import say
from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.cost.crossovers import crossover_rows
from mecheval_jax.evaluation.cost.measure import (
    CostOptions,
    cost_rows,
    keys_of,
    machine,
    this_device,
)
from mecheval_jax.fields import numbers_of_texts
from mecheval_jax.models.language_model import ModelConfig
from mecheval_jax.models.own_mixers import check_own_mixers
from mecheval_jax.store.cost_folder import CROSSOVERS, OWN, CostFolder


def options(given: Mapping[str, Any]) -> CostOptions:
    """Options from the texts of flags.

    Raises:
        UserError: If a length is not a whole number, or an option has an invalid value.
    """
    values = dict(given)
    if "lengths" in values:
        values["lengths"] = numbers_of_texts("--lengths", values["lengths"], int)
    return CostOptions(**values)


def measure(
    model: ModelConfig, mixers: Sequence[str], workdir: str | os.PathLike, how: CostOptions
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """Measure architectures of one shape anew, and write the tables after each of them.

    Args:
        model: Config of the models.
        mixers: Architectures, of which attention gets learned positions and all others none; the
            config's own keeps its own. That alone if there are none.
        workdir: Folder for the results.
        how: Options of the measurement.

    Returns:
        The tables of costs and of crossovers with attention or, without it, with the first
        architecture; and the machine.

    Raises:
        UserError: If an architecture is unknown, or one of the user's own does not keep what
            mixers promise, or the folder cannot be made, or holds other files.
    """
    shapes = models_of(model, mixers)
    for shape in shapes.values():
        check_own_mixers(shape)
    folder = CostFolder(workdir)
    folder.check_own("costs", OWN)
    return continue_measuring(shapes, folder, how, anew=True)


def continue_measuring(
    shapes: Mapping[str, ModelConfig],
    folder: CostFolder,
    how: CostOptions,
    until: float | None = None,
    *,
    anew: bool = False,
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """Measure what a folder does not have yet; as of `measure`.

    What was measured on another machine is measured again, and so is what was measured of another
    number of documents: rows of a table can be held against one another.

    Args:
        shapes: Shapes of models by their names.
        folder: Folder that is written.
        how: What is measured.
        until: Time of `time.monotonic` after which no further measurement is begun; None for all.
        anew: Whether what the folder has is measured again; it stays until there is a new row.

    Raises:
        UserError: If a file of the folder is damaged, or another program measures in it.
    """
    with folder.lock("costs"):
        rows, found = _measured_rows(shapes, folder, how, until, anew=anew)
        if not rows:
            return pd.DataFrame(), pd.DataFrame(columns=CROSSOVERS), found
        table = pd.DataFrame(rows)
        # Attention is what others become cheaper than; where it is not asked for, the first is.
        full = (name for name, model in shapes.items() if model.mixer == "attention")
        against = next(full, next(iter(shapes)))
        crossed = pd.DataFrame(crossover_rows(table, against), columns=CROSSOVERS)
        folder.write_crossovers(crossed)
        _write_texts(folder.path, table, crossed)
        draw(folder)
        return table, crossed, found


def _measured_rows(
    shapes: Mapping[str, ModelConfig],
    folder: CostFolder,
    how: CostOptions,
    until: float | None,
    *,
    anew: bool,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The rows of a folder, each written as soon as it is measured, and their machine."""
    before, found = (None, {}) if anew else (folder.read_costs(), folder.read_machine())
    rows = [] if before is None else before.to_dict("records")
    known = {(row["model"], row["length"], row["program"], row.get("batch")) for row in rows}
    here = this_device() if found and not keys_of(shapes, how) <= known else {}
    if elsewhere := any(found.get(name, value) != value for name, value in here.items()):
        known = set()
    missing = cost_rows(shapes, how, known)
    while (until is None or time.monotonic() < until) and (row := next(missing, None)):
        if not found or elsewhere:  # before the first row: rows never stand beside another machine
            if elsewhere:
                say(f"costs of {folder.path} are of {found.get('device')}: measured again here")
                rows, elsewhere = [], False
            found = machine()
            folder.begin(found)
        rows = [one for one in rows if not _is_outdated(one, row)] + [row]
        folder.write_costs(pd.DataFrame(rows))
    return rows, found


def _is_outdated(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether a row is of the program and length of a new one, and of another batch."""
    same = all(old[name] == new[name] for name in ("length", "program"))
    return same and old.get("batch") != new["batch"]


def models_of(model: ModelConfig, mixers: Sequence[str]) -> dict[str, ModelConfig]:
    """Configs that differ in their mixers alone, by their names.

    Raises:
        UserError: If one is named twice, as where the parts of a hybrid are taken for two.
    """
    names = tuple(mixers) or (model.mixer,)
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise UserError(
            f"mixers names {twice[0]} twice: each is measured once; a hybrid stands in quotes, "
            f"""--mixers='{twice[0]},"mamba,attention"'"""
        )
    return {name: dataclasses.replace(model, **model.changes_to(name)) for name in names}


def _write_texts(folder: pathlib.Path, table: pd.DataFrame, crossed: pd.DataFrame) -> None:
    """Write both tables as Markdown and LaTeX."""
    from mecheval_jax.reporting.html import cost_tables

    dataclasses.replace(cost_tables.measured(table), name="cost").write_texts(folder)
    dataclasses.replace(cost_tables.crossings(crossed), name="crossovers").write_texts(folder)


def draw(folder: CostFolder) -> None:
    """Draw ``cost.png`` and ``cost.svg`` from the tables of a folder, without measuring."""
    from mecheval_jax.reporting.figures import saving
    from mecheval_jax.reporting.figures.cost_figures import cost_over_length

    table, crossed = folder.read_costs(), folder.read_crossovers()
    if table is not None and crossed is not None:
        saving.save(cost_over_length(table, crossed), folder.path, "cost")
