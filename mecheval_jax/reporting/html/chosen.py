"""The part of a sweep's page that is about a choice of architecture: advice, table, costs."""

import pathlib
from typing import Any

import pandas as pd

from mecheval_jax.reporting.figures.comparison_figures import cost_against_accuracy
from mecheval_jax.reporting.figures.cost_figures import cost_over_length
from mecheval_jax.reporting.figures.saving import picture
from mecheval_jax.reporting.html.cost_tables import (
    TRAINING,
    crossings,
    measured,
    of_training,
    seconds,
    size,
)
from mecheval_jax.reporting.html.run_tables import ACCURACY, count, plain
from mecheval_jax.reporting.numbers import number, percent
from mecheval_jax.reporting.table import Column, Table, with_ends
from mecheval_jax.reporting.words import COST_TITLES
from mecheval_jax.store.choice import COSTS, FRONTS, ChoiceFolder, front_of
from mecheval_jax.store.cost_folder import rows_of
from mecheval_jax.store.folder import TABLES
from mecheval_jax.store.left_out import LeftOut

QUALITY = (
    Column("mixer"),
    Column("width", form=plain),
    Column("parameters", form=count),
    Column("state"),
    ACCURACY,
    Column("train_accuracy", "on training documents", percent),
    Column("memorised"),
    Column("floor", form=percent),
    Column("learned", "seeds that learned", count),
    Column("members", "of", count),
    Column("lowest", "lowest of the seeds", percent),
)
TRANSPARENCY = (
    Column("mixer"),
    Column("width", form=plain),
    Column("verdict"),
    Column("probability", form=percent),
    Column("agreement", "agreement of seeds", percent),
    Column("concentration", form=number, ends=True),
    Column("concentration_site", "at"),
    Column("concentration_role", "position"),
    Column("circuit_edges", form=count),
    Column("edges", "of all edges", count),
    Column("faithfulness", form=percent),
)
ON_FRONT = (
    Column("mixer"),
    Column("width", form=plain),
    *(Column(front_of(name), title) for name, title in COST_TITLES.items()),
    Column(front_of("concentration"), "concentration"),
)
COST = (
    Column("mixer"),
    Column("width", form=plain),
    Column("length", "tokens of context", count),
    *TRAINING,
    Column("training_tokens_per_second", form=count),
    Column("prefill_seconds", "reading a document", seconds, ends=True),
    Column("decode_seconds", "generating a token", seconds, ends=True),
    Column("state_bytes", "state", size),
)


def chosen(path: pathlib.Path, left_out: LeftOut) -> dict[str, Any]:
    """The content of a folder's choice and costs, for the template; draws the figures.

    Args:
        path: Folder of a sweep, in which an architecture may have been chosen or costs measured.
        left_out: Where parts are noted that are damaged; the others are shown.
    """
    folder = ChoiceFolder(path)
    found: dict[str, Any] = {"advice": None, "tables": {}, "figures": {}, "machine": {}}
    parts = {
        "advice": lambda: _advice(folder),
        "choice": lambda: _candidates(folder, left_out.part("costs", folder.cost.read_costs, None)),
        "costs": lambda: _costs(folder),
    }
    for name, part in parts.items():
        content = left_out.part(name, part, {})
        found["advice"] = content.get("advice", found["advice"])
        for kind in ("tables", "figures", "machine"):
            found[kind] |= content.get(kind, {})
    for one in found["tables"].values():
        one.write(path / TABLES)
    return found


def _advice(folder: ChoiceFolder) -> dict[str, Any]:
    return {"advice": folder.read_advice()} if folder.advice.exists() else {}


def _candidates(folder: ChoiceFolder, counted: pd.DataFrame | None) -> dict[str, Any]:
    if not folder.choice.exists():
        return {}
    choice, figures = folder.read_choice(), {}
    if choice["accuracy"].notna().any() and any(
        choice[column].notna().any() for column in COSTS.values()
    ):
        figure, name = cost_against_accuracy(choice), "cost_against_accuracy"
        words = "accuracy against costs"
        figures[name] = picture(figure, folder.figures, name, "chosen-accuracy", words)
    groups = folder.read()["groups"] if folder.sweep.exists() else ()
    choice["shape"] = choice["group"].replace({one["name"]: one["title"] for one in groups})
    return {"tables": _of_choice(choice, counted), "figures": figures}


def _costs(folder: ChoiceFolder) -> dict[str, Any]:
    table, crossed = folder.cost.read_costs(), folder.cost.read_crossovers()
    if table is None or crossed is None:
        return {}
    figure, words = cost_over_length(table, crossed), "costs over lengths of context"
    drawn = picture(figure, folder.figures, "cost", "chosen-cost", words)
    tables = {"measured": measured(table)} | (
        {"crossings": crossings(crossed)} if len(crossed) else {}
    )
    machine = folder.cost.read_machine()
    return {"machine": machine, "tables": tables, "figures": {"cost": drawn}}


def _of_choice(choice: pd.DataFrame, counted: pd.DataFrame | None) -> dict[str, Table]:
    rows = [
        with_ends(row, "accuracy") | {name: _yes(row[name]) for name in ("memorised", *FRONTS)}
        for row in choice.to_dict("records")
    ]
    if counted is not None:
        for row in rows:
            shape = {name: row[name] for name in ("mixer", "width", "layers")}
            row |= of_training(rows_of(counted, shape), row["length"])
    clear, costs = "How clear each mechanism is", "What each shape costs at the asked length"
    fronts = "Which shapes no other surpasses in accuracy together with one more thing"
    return {
        "choice": Table("choice", "How well each shape answers", QUALITY, rows, of="shape"),
        "transparency": Table("transparency", clear, TRANSPARENCY, rows, of="shape"),
        "fronts": Table("fronts", fronts, ON_FRONT, rows, of="shape"),
        "costs": Table("costs", costs, COST, rows, of="shape"),
    }


def _yes(value: Any) -> str | None:
    """A truth value as a word; None where it is not known."""
    return {True: "yes", False: "no"}.get(value)
