"""The part of a sweep's page that is about a choice of architecture: advice, table, costs."""

import pathlib
from typing import Any

import pandas as pd

from mecheval_jax.files import read_json, read_table
from mecheval_jax.reporting.figures.comparison_figures import COSTS, cost_against_accuracy
from mecheval_jax.reporting.figures.cost_figures import cost_over_length
from mecheval_jax.reporting.figures.saving import picture
from mecheval_jax.reporting.html.cost_tables import measured, seconds, size
from mecheval_jax.reporting.html.run_tables import ACCURACY, count, plain
from mecheval_jax.reporting.table import Column, Table, with_ends
from mecheval_jax.reporting.terminal.tables import number, percent
from mecheval_jax.store.choice import FRONTS, ChoiceFolder

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
    Column("front_training", "training"),
    Column("front_prefill", "reading a document"),
    Column("front_decode", "generating"),
    Column("front_state", "state"),
    Column("front_concentration", "concentration"),
)
COST = (
    Column("mixer"),
    Column("width", form=plain),
    Column("length", "tokens of context", count),
    Column("training_tokens_per_second", form=count),
    Column("prefill_seconds", "reading a document", seconds, ends=True),
    Column("decode_seconds", "generating a token", seconds, ends=True),
    Column("state_bytes", "state", size),
)
CROSSED = (
    *map(Column, ("model", "against", "program", "quantity")),
    Column("length", "cheaper from, tokens", count, ends=True),
    Column("note"),
)


def chosen(path: pathlib.Path) -> dict[str, Any]:
    """The content of a folder's choice and costs, for the template; draws the figures.

    Args:
        path: Folder of a sweep, in which an architecture may have been chosen or costs measured.

    Raises:
        UserError: If a file is damaged.
    """
    folder = ChoiceFolder(path)
    found: dict[str, Any] = {"advice": None, "tables": {}, "figures": {}, "machine": {}}
    if folder.advice.exists():
        found["advice"] = folder.read_advice()
    if folder.choice.exists():
        choice = folder.read_choice()
        found["tables"] |= _of_choice(choice)
        if choice["accuracy"].notna().any() and any(choice[c].notna().any() for c, *_ in COSTS):
            figure, name = cost_against_accuracy(choice), "cost_against_accuracy"
            words = "accuracy against costs"
            found["figures"][name] = picture(figure, folder.figures, name, "chosen-accuracy", words)
    if (folder.cost / "crossovers.csv").exists():  # made of the costs, and written after them
        table = read_table(folder.cost / "cost.csv")
        crossed = read_table(folder.cost / "crossovers.csv")
        found["machine"] = read_json(folder.cost / "machine.json", absent={})
        found["tables"] |= _of_costs(table, crossed)
        figure, words = cost_over_length(table, crossed), "costs over lengths of context"
        found["figures"]["cost"] = picture(figure, folder.figures, "cost", "chosen-cost", words)
    for one in found["tables"].values():
        one.write(path / "tables")
    return found


def _of_choice(choice: pd.DataFrame) -> dict[str, Table]:
    rows = [
        with_ends(row, "accuracy") | {name: _yes(row[name]) for name in ("memorised", *FRONTS)}
        for row in choice.to_dict("records")
    ]
    fronts = "Which shapes no other surpasses in accuracy together with one more thing"
    return {
        "choice": Table("choice", "How well each shape answers", QUALITY, rows),
        "transparency": Table("transparency", "How clear each mechanism is", TRANSPARENCY, rows),
        "fronts": Table("fronts", fronts, ON_FRONT, rows),
        "costs": Table("costs", "What each shape costs at the asked length", COST, rows),
    }


def _yes(value: Any) -> str | None:
    """A truth value as a word; None where it is not known."""
    return {True: "yes", False: "no"}.get(value)


def _of_costs(table: pd.DataFrame, crossed: pd.DataFrame) -> dict[str, Table]:
    ends = {"low": "length_low", "high": "length_high"}
    crossings = crossed.rename(columns=ends).to_dict("records")
    caption = "From which length on a model is cheaper than another"
    found = {"measured": measured(table)}
    return found | (
        {"crossings": Table("crossings", caption, CROSSED, crossings)} if crossings else {}
    )
