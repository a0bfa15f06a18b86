"""Trained models as lines of a table: how they were trained, what they answer, where it comes from.

A line is a cell (`published.tables.GridCell`) at one learning rate, with its runs in the order of
their seeds; a share that is the same in all of them stands there once. A page asks for the lines
that it talks about by conditions, so that no number of a run is copied by hand.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import pandas as pd

from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.verdict.readings import has_learned
from mecheval_jax.mixers.architectures import positions_of
from mecheval_jax.reporting.terminal.tables import MISSING
from mecheval_jax.statistics.intervals import wilson
from mecheval_jax.study.published.tables import CELL, GridCell, published_accuracy
from mecheval_jax.study.results import INPUT, RESTORED, column_of

SHARES = tuple(column_of(INPUT, role) for role in ("value", "query", "key"))
"""Restored shares that every line shows."""

TRAINED = ("task", "split", "layers", "width", "learning_rate")
"""Columns of a table of results that are columns of a line, unless a condition fixes them."""

HEADS = {"learning_rate": "rate"}
"""Columns whose heading is not their name."""

ALSO = "also"
"""The key of a page's conditions that names further shares."""

WIDEST = 1.0
"""A share lies between 0 and 1: an interval that is wider says nothing of it, as of a run from
which the corruption takes nothing away."""

SEVERAL = 3
"""So many seeds of a cell and rate are counted by `success_lines`."""

CLOSE = 0.15
"""Seeds are said to agree if their accuracies lie no further apart than this."""


def parse_conditions(text: str) -> dict[str, tuple[str, ...]]:
    """Conditions of the form ``task=AR; width=32,64``.

    Raises:
        UserError: If a part has no ``=``, or names something that no line is chosen by.
    """
    found = {}
    for part in filter(None, (part.strip() for part in text.split(";"))):
        name, given, values = part.partition("=")
        if not given or name not in (*CELL, "learning_rate", ALSO):
            raise UserError(
                f"runs are chosen by {', '.join(CELL)}, learning_rate or {ALSO}, as in "
                f'"task=AR; width=32,64", not by {part!r}'
            )
        found[name] = tuple(value.strip() for value in values.split(","))
    unknown = [column for column in found.get(ALSO, ()) if column not in RESTORED]
    if unknown:
        raise UserError(
            f"no table has shares {', '.join(unknown)}; those are {', '.join(RESTORED)}"
        )
    return found


def run_lines(
    rows: pd.DataFrame, conditions: Mapping[str, Sequence[str]] = MappingProxyType({})
) -> tuple[list[str], list[list[str]]]:
    """Headings and lines of the runs that meet conditions.

    Args:
        rows: Table of `study.results`.
        conditions: See `parse_conditions`. A column of which a single value is asked is left out.
    """
    chosen = _meeting(rows, {name: c for name, c in conditions.items() if name != ALSO})
    fixed = {name for name, values in conditions.items() if len(values) == 1}
    told = [name for name in TRAINED if name not in fixed]
    shares = (*SHARES, *conditions.get(ALSO, ()))
    heads = ["mixer", *(HEADS.get(name, name) for name in told), "seeds", "accuracy", "study"]
    heads += [_share_head(column) for column in shares] + ["verdict"]
    lines, published = [], set()
    for (*cell, rate), runs in _cells(chosen):
        place = GridCell._make(cell)
        where = place._asdict() | {"learning_rate": rate}
        known = "" if place in published else _published(place)
        published.add(place)
        lines.append(
            [
                name_of(runs.iloc[0]),
                *(_text(where[name]) for name in told),
                ", ".join(str(seed) for seed in runs["seed"]),
                percentages(runs["accuracy"]),
                known,
                *(_shares(runs, column) for column in shares),
                _verdicts(runs["verdict"]),
            ]
        )
    return heads, lines


def success_lines(rows: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """How many runs of a cell and rate answer more than the best heuristic, for certain.

    Headings and lines of those with `SEVERAL` seeds or more, with Wilson's 95 % interval of the
    share of all seeds.
    """
    lines = []
    for (*cell, rate), runs in _cells(rows[(rows["split"] == "test") & rows["accuracy"].notna()]):
        if len(runs) >= SEVERAL:
            answers = runs[["accuracy_low", "floor", "verdict"]].itertuples(index=False)
            learned = sum(has_learned(*answer) for answer in answers)
            low, high = wilson(learned, len(runs))
            place = GridCell._make(cell)
            told = (place.task, place.layers, place.width, rate)
            share = f"{learned} of {len(runs)}", f"{low:.0%} to {high:.0%}"
            lines.append([name_of(runs.iloc[0]), *map(_text, told), *share])
    return ["mixer", "task", "layers", "width", "rate", "learn", "95 % of all seeds"], lines


def spread(rows: pd.DataFrame) -> str:
    """How far seeds lie apart, in a sentence: the cells and rates that have several."""
    groups = (runs["accuracy"].dropna() for _, runs in _cells(rows[rows["split"] == "test"]))
    ends = [(runs.max(), runs.min()) for runs in groups if len(runs) > 1]
    far = sorted((pair for pair in ends if pair[0] - pair[1] > CLOSE), reverse=True)
    if not ends:
        return "No cell has several seeds yet."
    said = (
        f"In {len(ends) - len(far)} of the {len(ends)} cells that were run with several seeds, "
        f"these lie within {100 * CLOSE:g} points of each other"
    )
    listed = ", ".join(f"{high:.1%} and {low:.1%}".replace("%", "") for high, low in far)
    return f"{said}; in the rest the best and the worst have {listed} %." if far else f"{said}."


def name_of(row: Any) -> str:
    """The mixer of a row, with its option and its positions where they are not the usual ones."""
    usual = row.positions == positions_of(row.mixer)
    positions = "" if usual else f"(positions {row.positions})"
    return " ".join(filter(None, (row.mixer, row.option, positions)))


def percentages(accuracies: Iterable[float]) -> str:
    """Accuracies in per cent, as ``97.5, 96.9 %``."""
    return ", ".join(f"{value:.1%}"[:-1] for value in accuracies) + " %"


def _meeting(rows: pd.DataFrame, conditions: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    chosen = rows[rows["accuracy"].notna()]
    for name, values in conditions.items():
        chosen = chosen[chosen[name].map(_text).isin(values)]
    return chosen


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _cells(rows: pd.DataFrame) -> Iterable[tuple[tuple, pd.DataFrame]]:
    """Runs of one cell and rate; mixers and widths in their order, the rates of most runs first."""
    order = ["task", "split", "layers", "mixer", "option", "positions", "width"]
    counted = rows.assign(
        of_rate=-rows.groupby([*CELL, "learning_rate"])["seed"].transform("size")
    ).sort_values([*order, "of_rate", "learning_rate", "seed"])
    return counted.groupby([*CELL, "learning_rate"], sort=False)


def _published(cell: GridCell) -> str:
    accuracy = published_accuracy(cell)
    return "" if accuracy is None else percentages([accuracy])


def _share_head(column: str) -> str:
    site, _, role = column.partition("@")
    return f"@{role}" if site == INPUT else column


def _shares(runs: pd.DataFrame, column: str) -> str:
    known = runs[f"{column}_high"] - runs[f"{column}_low"] <= WIDEST
    if not known.any():
        return ""
    shares = runs[column].where(known)
    texts = [MISSING if math.isnan(share) else f"{share:z.2f}" for share in shares]
    return texts[0] if len(set(texts)) == 1 else ", ".join(texts)


def _verdicts(verdicts: pd.Series) -> str:
    count = Counter(verdicts)
    if len(count) == 1:
        return str(verdicts.iloc[0])
    return ", ".join(f"{number} {verdict}" for verdict, number in count.items())
