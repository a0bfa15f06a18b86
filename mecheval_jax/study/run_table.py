"""Trained models as lines of a table: how they were trained, what they answer, where it comes from.

A line is a cell (`published.tables.GridCell`) at one learning rate and beta2, with its runs in the
order of their seeds; what is the same in all of them stands there once. A page asks for the lines
that it talks about by conditions, so that no number of a run is copied by hand.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import pandas as pd

from mecheval_jax.errors import UserError, choose
from mecheval_jax.mixers.architectures import ARCHITECTURES, positions_of
from mecheval_jax.reporting.numbers import MISSING, number, percent
from mecheval_jax.statistics.intervals import wilson
from mecheval_jax.study.cells import (
    STUDY_BETA2,
    has_usual_positions,
    have_learned,
    shows_mechanism,
)
from mecheval_jax.study.measured import answering
from mecheval_jax.study.published.tables import CELL, GridCell, published, published_accuracy
from mecheval_jax.study.results import INPUT, RESTORED, column_of

SHARES = tuple(column_of(INPUT, role) for role in ("value", "query", "key"))
"""Restored shares that every line shows."""

RATE = "learning_rate"

WAY = (RATE, "beta2")
"""Columns in which runs of a cell may differ that are no seeds of each other."""

TRAINED = ("task", "split", "layers", "width", RATE)
"""Columns of a table of results that are columns of a line."""

HEADS = {RATE: "rate"}
"""Columns whose heading is not their name."""

ALSO = "also"
"""The key of a page's conditions that names further shares."""

USUAL = "usual"
"""The condition on positions that they are those of the study's main grid."""

SEVERAL = 3
"""So many seeds of a cell and rate are counted by `success_lines`."""

CLOSE = 0.15
"""Seeds are said to agree if their accuracies lie no further apart than this."""


def parse_conditions(text: str) -> dict[str, tuple[Any, ...]]:
    """Conditions of the form ``task=AR; width=32,64``.

    Raises:
        UserError: If a part has no ``=``, names something that no line is chosen by, or names it
            twice, or has a value that no run can have.
    """
    found: dict[str, tuple[Any, ...]] = {}
    for part in filter(None, (part.strip() for part in text.split(";"))):
        name, given, values = part.partition("=")
        if not given or name in found or name not in (*CELL, *WAY, ALSO):
            raise UserError(
                f"runs are chosen by {', '.join((*CELL, *WAY))} or {ALSO}, each once, as in "
                f'"task=AR; width=32,64", not by {part!r}'
            )
        found[name] = tuple(_value(name, value.strip()) for value in values.split(","))
    return found


def run_lines(
    rows: pd.DataFrame, conditions: Mapping[str, Sequence[Any]] = MappingProxyType({})
) -> tuple[list[str], list[list[str]]]:
    """Headings and lines of the runs that meet conditions.

    Args:
        rows: Table of `study.results`.
        conditions: See `parse_conditions`. A column of `TRAINED` of which a single value is asked
            is left out.
    """
    chosen = answering(rows)
    for name, values in conditions.items():
        if name != ALSO:
            met = chosen[name].isin(values)
            if name == "positions" and USUAL in values:
                met |= has_usual_positions(chosen)
            chosen = chosen[met]
    told = [name for name in TRAINED if len(conditions.get(name, ())) != 1]
    shares = (*SHARES, *conditions.get(ALSO, ()))
    heads = [*_heads(told), "seeds", "accuracy", "study", *map(_share_head, shares), "verdict"]
    lines = []
    for cell, runs in _cells(chosen):
        # From a run that only guesses on recall the corruption takes next to nothing away. On
        # treecall, most answers come from somewhere even where they are not surely recalled.
        shown = shows_mechanism(runs) | runs["task"].str.startswith("ATR")
        usual = runs["beta2"].iloc[0] == STUDY_BETA2
        accuracy = published_accuracy(cell) if usual else None
        lines.append(
            [
                *_how(runs, told),
                ", ".join(str(seed) for seed in runs["seed"]),
                percentages(runs["accuracy"]),
                "" if accuracy is None else percentages([accuracy]),
                *(_by_seed(map(number, runs[column].where(shown))) for column in shares),
                _verdicts(runs["verdict"].fillna(MISSING)),
            ]
        )
    return heads, lines


def success_lines(rows: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """How many runs of a cell and rate have learned (`have_learned`).

    Headings and lines of those with `SEVERAL` seeds or more, with Wilson's 95 % interval of the
    share of all seeds.
    """
    told = [name for name in TRAINED if name != "split"]
    lines = []
    for _, runs in _cells(answering(rows[rows["split"] == "test"])):
        if len(runs) >= SEVERAL:
            learned = int(have_learned(runs).sum())
            low, high = wilson(learned, len(runs))
            share = f"{learned} of {len(runs)}", f"{low:.0%} to {high:.0%}"
            lines.append([*_how(runs, told), *share])
    return [*_heads(told), "learn", "95 % of all seeds"], lines


def spread(rows: pd.DataFrame) -> str:
    """How many seeds the cells and rates have, and how far they lie apart, in sentences."""
    answered = answering(rows[rows["split"] == "test"])
    groups = [runs["accuracy"] for _, runs in _cells(answered)]
    ends = [(runs.max(), runs.min()) for runs in groups if len(runs) > 1]
    far = sorted((pair for pair in ends if pair[0] - pair[1] > CLOSE), reverse=True)
    counts = Counter(min(len(runs), 4) for runs in groups)
    said = (
        f"Of the {len(groups)} cells (a task and an architecture at one width, depth and learning "
        f"rate) {counts[1]} have one seed, {counts[2]} two, {counts[3]} three and {counts[4]} "
        f"more. In {len(ends) - len(far)} of the {len(ends)} with several these lie within "
        f"{100 * CLOSE:g} points of each other"
    )
    if not far:
        return f"{said}."
    listed = ", ".join(" and ".join(map(_percentage, pair)) for pair in far)
    return f"{said}; in the rest the best and the worst have {listed} %."


def name_of(row: Any) -> str:
    """The mixer of a row, with its option, and its positions and beta2 if not the usual ones."""
    usual = row.positions == positions_of(row.mixer)
    positions = "" if usual else f"(positions {row.positions})"
    beta2 = getattr(row, "beta2", STUDY_BETA2)
    moment = "" if beta2 == STUDY_BETA2 else f"(beta2 {beta2:g})"
    return " ".join(filter(None, (row.mixer, row.option, positions, moment)))


def percentages(accuracies: Iterable[float]) -> str:
    """Accuracies in per cent, as ``97.5, 96.9 %``."""
    return ", ".join(map(_percentage, accuracies)) + " %"


def _percentage(accuracy: float) -> str:
    return percent(accuracy).removesuffix("%")


def _value(name: str, text: str) -> Any:
    """A value of a condition, as tables of results have it."""
    if name in _FORMS:
        try:
            return _FORMS[name](text)
        except ValueError:
            raise UserError(f"{name} is a number, not {text!r}") from None
    known = _choices().get(name)
    return text if known is None else choose(name, text, known)


_FORMS: Mapping[str, Callable[[str], Any]] = {
    "width": int,
    "layers": int,
    **dict.fromkeys(WAY, float),
}


def _choices() -> dict[str, Sequence[str]]:
    return {
        "mixer": tuple(ARCHITECTURES),
        "task": tuple(published("accuracies")["task"].unique()),
        "split": ("dev", "test"),
        "positions": ("learned", "none", USUAL),
        ALSO: RESTORED,
    }


def _cells(rows: pd.DataFrame) -> Iterator[tuple[GridCell, pd.DataFrame]]:
    """Runs of one cell and rate.

    Tasks are in the study's order, mixers by name with their usual form first, and the rates of a
    cell by their numbers of runs, the most first.
    """
    tasks = [*dict.fromkeys([*_choices()["task"], *rows["task"]])]
    sizes = rows.groupby([*CELL, *WAY], dropna=False)["seed"].transform("size")
    ordered = rows.assign(
        of_task=rows["task"].map(tasks.index),
        of_positions=~has_usual_positions(rows),
        of_rate=-sizes,
    ).sort_values(
        ["of_task", "split", "layers", "mixer", "option", "of_positions", "width", "of_rate", *WAY,
         "seed"]
    )  # fmt: skip
    for (*cell, _, _), runs in ordered.groupby([*CELL, *WAY], sort=False, dropna=False):
        yield GridCell._make(cell), runs


def _heads(told: Iterable[str]) -> list[str]:
    return ["mixer", *(HEADS.get(name, name) for name in told)]


def _how(runs: pd.DataFrame, told: Iterable[str]) -> Iterator[str]:
    """Cells below `_heads`: how runs were trained."""
    first = runs.iloc[0]
    yield name_of(first)
    for name in told:
        yield _rate(first[name]) if name == RATE else str(first[name])


def _rate(rate: float) -> str:
    """A learning rate as ``3e-4``."""
    short = f"{rate:.0e}".replace("e-0", "e-")
    return short if float(short) == rate else f"{rate:g}"


def _share_head(column: str) -> str:
    site, _, role = column.partition("@")
    return f"@{role}" if site == INPUT else column


def _by_seed(texts: Iterable[str]) -> str:
    """Texts of all seeds; one where they are alike, and none where all are missing."""
    texts = [*texts]
    if set(texts) == {MISSING}:
        return ""
    return texts[0] if len(set(texts)) == 1 else ", ".join(texts)


def _verdicts(verdicts: Iterable[str]) -> str:
    """Verdicts in the order of the seeds, each with the number of seeds in a row that have it."""
    in_a_row = [(verdict, len([*same])) for verdict, same in itertools.groupby(verdicts)]
    if len(in_a_row) == 1:
        return in_a_row[0][0].removeprefix(MISSING)
    return ", ".join(f"{number} {verdict}" for verdict, number in in_a_row)
