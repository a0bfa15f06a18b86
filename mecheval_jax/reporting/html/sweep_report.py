"""The report of a sweep: one HTML file with its figures, tables, and links to its best members."""

import json
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from mecheval_jax.console import say
from mecheval_jax.files import read_json, write_text
from mecheval_jax.reporting.figures import sweep_figures
from mecheval_jax.reporting.figures.drawing import inline, save
from mecheval_jax.reporting.figures.sweep_figures import Curves
from mecheval_jax.reporting.html.page import render
from mecheval_jax.reporting.html.sections import rows_of
from mecheval_jax.reporting.terminal import tables
from mecheval_jax.store.metrics import dev_rows
from mecheval_jax.store.status import NamedStatus, read_overview
from mecheval_jax.store.sweep_folder import GroupFolder, SweepFolder
from mecheval_jax.store.sweep_tables import SweepTables
from mecheval_jax.training.state import HYPERPARAMETERS

SHAPES = 24
"""Shapes of one figure; a sweep of more has each figure several times."""

SHOWN = ("learning_rate", "seed")
"""What is said of every member, even if it is the same of all."""

PLAIN = ".12g"
"""Format of learning rates and seeds: as they were written."""

CASES = {"all": "all members", "seeds": "learning_rate", "learning_rates": "seed"}
"""What is always said of members that are counted together."""

EVENTS = {"diverged_at": "diverged", "stopped_at": "reached the target accuracy, and stopped"}

READINGS = {
    "accuracy_by_rate": "Each mark is a member, answering the evaluation documents; the black line "
    "joins the medians of the learning rates. What does not lie above the dashed line is no "
    "recall: the best heuristic without recall reaches it. Where the line still rises at the "
    "first or the last rate, the best rate may lie outside the sweep.",
    "success_by_shape": "Share of a shape's members, over all learning rates and seeds, that are "
    "more accurate than each threshold, with Wilson's intervals. Few members leave wide ones.",
    "learning_curves": "Accuracy on dev documents, a line a member. A curve that still rises at "
    "its end was given too few steps to be compared with one that does not.",
    "verdicts_by_shape": "By which mechanism the members of a shape recall, as the verdict on each "
    "says. Members of one shape with different verdicts found different solutions.",
}
"""Figures in the order of the report, and how to read them."""


def write_sweep_report(folder: SweepFolder, found: SweepTables) -> None:
    """Draw the figures of a sweep and write ``report.html``.

    Groups that are not finished have their learning curves so far, and are named.

    Args:
        folder: of the sweep.
        found: its tables.

    Raises:
        UserError: the folder holds no sweep, or a damaged file.
    """
    table, best, success = found.members, found.best, found.success
    content, overview = folder.read(), read_overview(folder.path)
    provenance = read_json(folder.provenance) if folder.provenance.exists() else {}
    titles = {one.name: one.title for one in overview.groups}
    varied = [name for name in HYPERPARAMETERS if name in SHOWN or table[name].nunique() > 1]
    values = {
        "name": folder.path.absolute().name,
        "about": _about(content),
        "varied": _varied(content["members"]),
        "waiting": [_unfinished(one) for one in overview.groups if one.status.state != "finished"],
        "resume": overview.resume,
        "best": [_best(row, folder, titles, varied) for row in best.to_dict("records")],
        "figures": list(_figures(folder, overview.groups, table, best, success)),
        "thresholds": [f"{one:.0%}" for one in sorted(set(success["threshold"]))],
        "success": list(_success(success, titles)),
        "confidence": content["base"]["evaluation"]["confidence"],
        "ends": list(_ends(table, folder, titles, varied)),
        "groups": [_group(one, folder.group(one.name)) for one in overview.groups],
        "commands": _commands(folder, best),
        "config": list(rows_of(content["base"])),
        "provenance": list(rows_of(provenance)),
    }
    write_text(folder.report, render("sweep_report.html.jinja", **values))
    say(f"report: {folder.report}")


def _figures(
    folder: SweepFolder,
    groups: Sequence[NamedStatus],
    table: pd.DataFrame,
    best: pd.DataFrame,
    success: pd.DataFrame,
) -> Iterator[dict[str, Any]]:
    """Draw and save every figure; what the page shows of each."""
    finished = set(table["group"])
    titles = {one.name: one.title for one in groups if one.name in finished}
    with_verdict = set(table.loc[table["metric"] == "verdict", "group"])
    of_verdicts = {name: title for name, title in titles.items() if name in with_verdict}
    curves = {one.name: _curves(folder.group(one.name)) for one in groups}
    of_curves = {one.name: _with_state(one) for one in groups if curves[one.name]}
    chosen = dict(zip(best["group"], best["member"], strict=True))
    drawn = {
        "accuracy_by_rate": (titles, lambda page: sweep_figures.accuracy_by_rate(table, page)),
        "success_by_shape": (titles, lambda page: sweep_figures.success_by_shape(success, page)),
        "learning_curves": (
            of_curves,
            lambda page: sweep_figures.learning_curves(curves, page, table, chosen),
        ),
        "verdicts_by_shape": (
            of_verdicts,
            lambda page: sweep_figures.verdicts_by_shape(table, page),
        ),
    }
    for kind, (shapes, draw) in drawn.items():
        pages = _pages(shapes)
        for number, page in enumerate(pages, 1):
            name = kind if len(pages) == 1 else f"{kind}_{number}"
            path = save(draw(page), folder.figures, name)
            svg = inline(path, name, name.replace("_", " "))
            yield {"kind": kind, "svg": svg, "reading": READINGS[kind]}


def _pages(titles: Mapping[str, str]) -> list[dict[str, str]]:
    """The shapes of each figure of a kind."""
    items = list(titles.items())
    return [dict(items[i : i + SHAPES]) for i in range(0, len(items), SHAPES)]


def _curves(group: GroupFolder) -> Curves:
    """Rows on dev documents by member, as far as the group is."""
    curves: dict[int, list[dict[str, Any]]] = {}
    for row in dev_rows(group.metrics):
        curves.setdefault(int(row["member"]), []).append(row)
    return curves


def _with_state(one: NamedStatus) -> str:
    status = one.status
    if status.state == "finished":
        return one.title
    return f"{one.title}, {status.state} at step {status.step:,} of {status.steps:,}"


def _about(content: Mapping[str, Any]) -> str:
    members, groups = len(content["members"]), len(content["groups"])
    return (
        f"{_count(members, 'member')} in {_count(groups, 'group')} of one shape each; "
        f"task {content['base']['task']['name']}"
    )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _varied(members: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Fields that members change, with the values that they take."""
    values: dict[str, dict[str, None]] = {}
    for changes in members:
        for field, value in changes.items():
            values.setdefault(field, {})[_text(value)] = None
    return [(field, ", ".join(taken)) for field, taken in values.items()]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _unfinished(one: NamedStatus) -> dict[str, str]:
    status = one.status
    where = "" if status.state == "waiting" else f", step {status.step:,} of {status.steps:,}"
    return {"name": one.name, "state": f"{status.state}{where}", "error": status.error}


def _best(
    row: Mapping[str, Any],
    folder: SweepFolder,
    titles: Mapping[str, str],
    varied: Sequence[str],
) -> dict[str, Any]:
    """A line of the table of best members."""
    report = folder.group(row["group"]).member(row["member"]) / "report.html"
    return {
        "title": titles[row["group"]],
        "member": row["member"],
        "run": _link(folder, row),
        "report": report.exists(),
        "settings": _settings(row, varied),
        "dev": tables.percent(row["dev_accuracy"]),
        "accuracy": tables.percent(row["accuracy"]),
        "interval": _interval(row["low"], row["high"]),
        "floor": tables.percent(row["floor"]),
        "verdict": row["verdict"] if isinstance(row["verdict"], str) else tables.MISSING,
    }


def _link(folder: SweepFolder, row: Mapping[str, Any]) -> str:
    """A member's run folder, from the page."""
    run = folder.group(row["group"]).member(row["member"])
    return f"{run.relative_to(folder.path).as_posix()}/"


def _settings(row: Mapping[str, Any], varied: Sequence[str]) -> str:
    """What a member was trained with, of that in which members of the sweep differ."""
    return ", ".join(f"{name.replace('_', ' ')} {row[name]:{PLAIN}}" for name in varied)


def _interval(low: float, high: float) -> str:
    return f"[{tables.percent(low)}, {tables.percent(high)}]"


def _success(success: pd.DataFrame, titles: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """A line for each shape, rate or seed, with a cell for each threshold."""
    for (name, over, *_), rows in success.groupby(
        ["group", "over", *HYPERPARAMETERS], sort=False, dropna=False
    ):
        first = rows.iloc[0]
        beside = success[(success["group"] == name) & (success["over"] == over)]
        yield {
            "title": titles[name],
            "over": over,
            "case": _case(over, first.to_dict(), beside),
            "members": int(first["members"]),
            "diverged": int(first["diverged"]),
            "cells": [
                (tables.percent(row.value), _interval(row.low, row.high))
                for row in rows.sort_values("threshold").itertuples()
            ],
        }


def _case(over: str, row: Mapping[str, Any], beside: pd.DataFrame) -> str:
    """What the members of a row have in common, of that in which the rows `beside` it differ."""
    if over == "all":
        return CASES[over]
    names = [n for n in HYPERPARAMETERS if n == CASES[over] or beside[n].nunique() > 1]
    if (beside["data_seed"] == beside["seed"]).all():
        names = [name for name in names if name != "data_seed"]
    return _settings(row, names)


def _ends(
    table: pd.DataFrame, folder: SweepFolder, titles: Mapping[str, str], varied: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Members that did not take all their steps."""
    ends = table[table["metric"].isin(EVENTS)].dropna(subset="value")
    for row in ends.to_dict("records"):
        yield {
            "title": titles[row["group"]],
            "member": row["member"],
            "run": _link(folder, row),
            "settings": _settings(row, varied),
            "what": EVENTS[row["metric"]],
            "step": f"{row['value']:,.0f}",
        }


def _group(one: NamedStatus, group: GroupFolder) -> dict[str, Any]:
    """A line of the table of groups."""
    strategy, status = group.read_strategy(), one.status
    return {
        "name": one.name,
        "title": one.title,
        "state": status.state,
        "members": status.members,
        "strategy": tables.MISSING if strategy is None else str(strategy),
        "step": f"{status.step:,} of {status.steps:,}",
        "seconds": f"{status.seconds:,.0f}",
        "attempts": status.attempts,
    }


def _commands(folder: SweepFolder, best: pd.DataFrame) -> dict[str, list[str]]:
    """How to look closer at one of the best members, and at all of them side by side."""
    runs = [folder.group(row.group).member(row.member) for row in best.itertuples()]
    one = shlex.quote(f"--workdir={runs[0]}")
    all_of_them = " ".join(shlex.quote(f"--workdir={run}") for run in runs)
    output = shlex.quote(f"--output={folder.path / 'best'}")
    return {
        "one": [
            f"python -m launch.intervene {one} --sites=all",
            f"python -m launch.report {one}",
        ],
        "all": [f"python -m launch.report {all_of_them} {output}"] if len(runs) > 1 else [],
    }
