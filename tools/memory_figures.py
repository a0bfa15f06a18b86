"""Figures of what was found about memory, from the tables of `tools.memory_results`."""

import pathlib
from collections.abc import Iterator
from typing import Any

import pandas as pd

from tools.blocks import save_figure
from tools.sweep_results import learned

Dots = Iterator[dict[str, Any]]
"""Marks of `reporting.figures.dot_figures`."""

ELSEWHERE = "forgetting_recall", "associative_recall", "multi_query_recall"
"""Tasks whose runs have tables of their own."""

RUNS = "runs.csv"
"""Summaries of runs, by their names."""

MEASURES = "uncovered", "recovered", "trace"
"""Shares that tell whether a pair was erased or outweighed."""

EDITS = {
    ("edited", "accuracy"): "own answer",
    ("edited", "new_answer"): "the donor's answer",
    ("others", "change"): "accuracy of others, change",
}
"""Question and metric -> the panel of the figure of editing."""

OPERATIONS = {"edit": "after an edit", "erase": "after erasing"}
"""What is done to an association -> what its marks are called."""

FLOOR = "best floor"


def draw(folder: pathlib.Path) -> None:
    """Draw every figure of which there is a table.

    Args:
        folder: Folder of the tables, into which the figures are written.
    """
    from mecheval_jax.files import read_table
    from mecheval_jax.reporting.figures.dot_figures import dots_in_lines
    from mecheval_jax.reporting.figures.memory_figures import capacities

    if (folder / "capacity.csv").exists():
        save_figure(capacities, read_table(folder / "capacity.csv"), folder / "capacity.svg")
    if not (folder / RUNS).exists():
        return
    runs = read_table(folder / RUNS).set_index("run")
    found = {"tasks": pd.DataFrame(task_dots(runs))}
    parts = {
        "editing": edit_dots,
        "overwriting": forgetting_dots,
        "generalization": size_dots,
    }
    for name, dots in parts.items():
        if (folder / f"{name}.csv").exists():
            rows = read_table(folder / f"{name}.csv").sort_values("run", kind="stable")
            found[name] = pd.DataFrame(dots(runs, rows))
    for name, table in found.items():
        if len(table):
            save_figure(dots_in_lines, table, folder / f"{name}.svg")


def edit_dots(runs: pd.DataFrame, rows: pd.DataFrame) -> Dots:
    """What an edit and an erasure do, panel by panel; what is not recalled cannot be edited."""
    recalled = rows[rows["run"].isin(runs.index[[learned(row) for _, row in runs.iterrows()]])]
    changed = recalled[recalled["operation"].isin(OPERATIONS)]
    for (question, metric), panel in EDITS.items():
        of_panel = (changed["question"] == question) & (changed["metric"] == metric)
        for each in changed[of_panel].to_dict("records"):
            name, kind = _plain(mixer_of(runs.loc[each["run"]])), OPERATIONS[each["operation"]]
            yield {"name": name, "panel": panel, "kind": kind} | _ends(each)


def forgetting_dots(runs: pd.DataFrame, rows: pd.DataFrame) -> Dots:
    """The shares that tell whether an old pair was erased, coloured by what they say."""
    readings = rows[rows["metric"] == MEASURES[0]].set_index("run")["reading"]
    for measure in MEASURES:
        for each in rows[rows["metric"] == measure].to_dict("records"):
            row = runs.loc[each["run"]]
            name = f"{_plain(mixer_of(row))}, seed {row['seed']}"
            yield {"name": name, "panel": measure, "kind": readings[each["run"]]} | _ends(each)


def size_dots(runs: pd.DataFrame, rows: pd.DataFrame) -> Dots:
    """Accuracy on documents of other sizes and the best floor there, run by run."""
    for name, found in rows.groupby("run", sort=False):
        row, trained = runs.loc[name], found.loc[found["setting"] == "as trained", "length"].iloc[0]
        for each in found.to_dict("records"):
            size = _size(each["length"], trained)
            # A floor belongs to its documents: a line for each size.
            line = {"name": f"{named(str(name), row)}, {each['setting']}", "panel": "accuracy"}
            kind = FLOOR if each["metric"] == "floor" else size
            yield line | {"kind": kind} | _ends(each)


def _size(length: int, trained: int) -> str:
    """How long documents are beside those of training."""
    if length == trained:
        return "as trained"
    return "longer" if length > trained else "shorter"


def task_dots(runs: pd.DataFrame) -> Dots:
    """Accuracy and the best floor on each of the other tasks, run by run."""
    others = runs[~runs["task"].isin(ELSEWHERE)].sort_values("task", kind="stable")
    for name, row in others.iterrows():
        line = {"name": f"{named(str(name), row)}: {_plain(mixer_of(row))}", "panel": "accuracy"}
        ends = {"low": row["accuracy_low"], "high": row["accuracy_high"]}
        verdict = "no verdict asked" if pd.isna(row["verdict"]) else row["verdict"]
        yield line | {"kind": verdict, "value": row["accuracy"]} | ends
        yield line | {"kind": FLOOR} | dict.fromkeys(("value", "low", "high"), row["floor"])


def named(name: str, row: pd.Series) -> str:
    """The task of a run, and the run's name if it has another."""
    return row["task"] if row["task"] == name else f"{row['task']}, {name}"


def mixer_of(row: pd.Series) -> str:
    """A run's mixer, with the convolution before it."""
    return f"`{row['mixer']}`" + (f", canon {row['canon']}" if row["canon"] else "")


def _plain(text: str) -> str:
    """A text of a page without marks of code."""
    return text.replace("`", "")


def _ends(row: dict[str, Any]) -> dict[str, float]:
    """A value with its interval; one that has none is a point."""
    return {
        end: row["value"] if pd.isna(row[end]) else row[end] for end in ("value", "low", "high")
    }
