"""Costs of architectures, measured and written into a folder: tables, figure, machine."""

import dataclasses
import os
import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.cost.crossovers import crossover_rows
from mecheval_jax.evaluation.cost.measure import CostOptions, cost_rows, machine
from mecheval_jax.files import make_workdir, read_json, read_table, write_json, write_table
from mecheval_jax.mixers.architectures import positions_of
from mecheval_jax.models.language_model import ModelConfig


def options(given: Mapping[str, Any]) -> CostOptions:
    """Options from the texts of flags.

    Raises:
        UserError: If a length is not a whole number, or an option has an invalid value.
    """
    values = dict(given)
    if "lengths" in values:
        try:
            values["lengths"] = tuple(int(text) for text in values["lengths"])
        except ValueError:
            text = ",".join(values["lengths"])
            raise UserError(f"--lengths={text}: whole numbers of tokens, 128,1024") from None
    return CostOptions(**values)


def measure(
    model: ModelConfig, mixers: Sequence[str], workdir: str | os.PathLike, how: CostOptions
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """Measure architectures of one shape, and write the tables after each of them.

    Args:
        model: Config of the models.
        mixers: Architectures, of which attention gets learned positions and all others none; the
            config's own architecture and positions if there are none.
        workdir: Folder for the results.
        how: Options of the measurement.

    Returns:
        The tables of costs and of crossovers with the first architecture, and the machine.

    Raises:
        UserError: If an architecture is unknown, or the folder cannot be made.
    """
    shapes = models_of(model, mixers)
    folder = pathlib.Path(workdir)
    make_workdir(folder)
    (folder / COST).unlink(missing_ok=True)
    (folder / MACHINE).unlink(missing_ok=True)
    return continue_measuring(shapes, folder, how)


COST, CROSSED, MACHINE = "cost.csv", "crossovers.csv", "machine.json"
"""Files of a folder of costs."""


def continue_measuring(
    shapes: Mapping[str, ModelConfig],
    folder: pathlib.Path,
    how: CostOptions,
    until: float | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """Measure what a folder does not have yet; as of `measure`.

    Args:
        shapes: Shapes of models by their names.
        folder: Folder that is written.
        how: What is measured.
        until: Time of `time.monotonic` after which no further measurement is begun; None for all.

    Raises:
        UserError: If a file of the folder is damaged.
    """
    make_workdir(folder)
    rows = read_table(folder / COST).to_dict("records") if (folder / COST).exists() else []
    found = read_json(folder / MACHINE, absent={})
    known = {(row["model"], row["length"], row["program"]) for row in rows}
    missing = cost_rows(shapes, how, known)
    while (until is None or time.monotonic() < until) and (row := next(missing, None)):
        rows.append(row)
        write_table(folder / COST, pd.DataFrame(rows))
    if rows and not found:
        found = machine()
        write_json(folder / MACHINE, found)
    if not rows:
        return pd.DataFrame(), pd.DataFrame(columns=CROSSOVERS), found
    table = pd.DataFrame(rows)
    # Attention is what others become cheaper than; where it is not asked for, the first is.
    full = (name for name, model in shapes.items() if model.mixer == "attention")
    against = next(full, next(iter(shapes)))
    crossed = pd.DataFrame(crossover_rows(table, against), columns=CROSSOVERS)
    write_table(folder / CROSSED, crossed)
    _write_texts(folder, table, crossed)
    draw(folder)
    return table, crossed, found


CROSSOVERS = ("model", "against", "program", "quantity", "length", "low", "high", "note")
"""Columns of ``crossovers.csv``."""


def models_of(model: ModelConfig, mixers: Sequence[str]) -> dict[str, ModelConfig]:
    """Configs that differ in their mixers alone, by their names."""
    if not mixers:
        return {model.mixer: model}
    return {
        name: dataclasses.replace(
            model,
            mixer=name,
            positions=positions_of(name),
            mixer_options=model.mixer_options if name == model.mixer else {},
        )
        for name in mixers
    }


def _write_texts(folder: pathlib.Path, table: pd.DataFrame, crossed: pd.DataFrame) -> None:
    """Write both tables as Markdown and LaTeX."""
    from mecheval_jax.reporting.html import cost_tables

    dataclasses.replace(cost_tables.measured(table), name="cost").write_texts(folder)
    dataclasses.replace(cost_tables.crossings(crossed), name="crossovers").write_texts(folder)


def draw(folder: pathlib.Path) -> None:
    """Draw ``cost.png`` and ``cost.svg`` from the tables of a folder, without measuring."""
    from mecheval_jax.reporting.figures import saving
    from mecheval_jax.reporting.figures.cost_figures import cost_over_length

    table, crossed = read_table(folder / COST), read_table(folder / CROSSED)
    saving.save(cost_over_length(table, crossed), folder, "cost")
