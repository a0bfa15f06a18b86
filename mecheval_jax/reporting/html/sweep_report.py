"""The report of a sweep: one HTML file with its figures, tables, and links to its best members."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pandas as pd

from mecheval_jax.console import say
from mecheval_jax.files import read_json, write_text
from mecheval_jax.reporting.figures import sweep_figures as figures
from mecheval_jax.reporting.figures.drawing import picture
from mecheval_jax.reporting.figures.sweep_figures import Curves
from mecheval_jax.reporting.html.page import render, text_of
from mecheval_jax.store.metrics import dev_rows
from mecheval_jax.store.status import NamedStatus, Overview, read_overview
from mecheval_jax.store.sweep_folder import GroupFolder, SweepFolder
from mecheval_jax.store.sweep_tables import SweepTables
from mecheval_jax.training.state import HYPERPARAMETERS

SHAPES = 24
"""Shapes of one figure; a sweep of more has each figure several times."""

SHOWN = ("learning_rate", "seed")
"""What is said of every member, even if it is the same of all."""

ALIKE = {"seeds": "learning_rate", "learning_rates": "seed"}
"""What is always said of members that are counted together."""


def write_sweep_report(folder: SweepFolder, found: SweepTables) -> None:
    """Draw the figures of a sweep and write ``report.html``.

    Groups that are not finished have their learning curves so far, and are named.

    Args:
        folder: Folder of the sweep.
        found: Tables of the sweep.

    Raises:
        UserError: If the folder holds no sweep, or a damaged file.
    """
    members, best, success = found.members, found.best, found.success
    content, overview = folder.read(), read_overview(folder.path)
    names = [name for name in HYPERPARAMETERS if name in SHOWN or members[name].nunique() > 1]
    ends = members[members["metric"].isin(("diverged_at", "stopped_at"))].dropna(subset="value")
    values = {
        "name": folder.path.absolute().name,
        "content": content,
        "varied": _varied(content["members"]),
        "confidence": content["base"]["evaluation"]["confidence"],
        "groups": overview.groups,
        "titles": {one.name: one.title for one in overview.groups},
        "strategies": {one.name: folder.group(one.name).read_strategy() for one in overview.groups},
        "resume": overview.resume,
        "settings": names,
        "best": list(_with_runs(best, folder)),
        "ends": list(_with_runs(ends, folder)),
        "figures": list(_figures(folder, overview, found)),
        "thresholds": sorted(set(success["threshold"])),
        "success": list(_success(success)),
        "differences": found.differences.to_dict("records"),
        "runs": [folder.group(row.group).member(row.member) for row in best.itertuples()],
        "output": folder.path / "best",
        "provenance": read_json(folder.provenance, absent={}),
    }
    write_text(folder.report, render("sweep_report.html.jinja", **values))
    say(f"report: {folder.report}")


def _figures(
    folder: SweepFolder, overview: Overview, found: SweepTables
) -> Iterator[dict[str, Any]]:
    """Draw and save every figure; what the page shows of each."""
    members, best = found.members, found.best
    finished = set(members["group"])
    titles = {one.name: one.title for one in overview.groups if one.name in finished}
    with_verdict = set(members.loc[members["metric"] == "verdict", "group"])
    of_verdicts = {name: title for name, title in titles.items() if name in with_verdict}
    curves = {one.name: _curves(folder.group(one.name)) for one in overview.groups}
    of_curves = {one.name: _with_state(one) for one in overview.groups if curves[one.name]}
    chosen = dict(zip(best["group"], best["member"], strict=True))
    drawn = {
        "accuracy_by_rate": (titles, lambda page: figures.accuracy_by_rate(members, page)),
        "success_by_shape": (titles, lambda page: figures.success_by_shape(found.success, page)),
        "learning_curves": (
            of_curves,
            lambda page: figures.learning_curves(curves, page, members, chosen),
        ),
        "verdicts_by_shape": (of_verdicts, lambda page: figures.verdicts_by_shape(members, page)),
    }
    for kind, (shapes, draw) in drawn.items():
        pages = _pages(shapes)
        for number, page in enumerate(pages, 1):
            name = kind if len(pages) == 1 else f"{kind}_{number}"
            svg = picture(draw(page), folder.figures, name, name, name.replace("_", " "))
            yield {"kind": kind, "svg": svg}


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


def _varied(members: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Fields that members change, with the values that they take."""
    values: dict[str, dict[str, None]] = {}
    for changes in members:
        for field, value in changes.items():
            values.setdefault(field, {})[text_of(value)] = None
    return [(field, ", ".join(taken)) for field, taken in values.items()]


def _with_runs(members: pd.DataFrame, folder: SweepFolder) -> Iterator[dict[str, Any]]:
    """Rows of members, with the way from the page to their run folders."""
    for row in members.to_dict("records"):
        run = folder.group(row["group"]).member(row["member"])
        link = f"{run.relative_to(folder.path).as_posix()}/"
        yield row | {"run": link, "report": (run / "report.html").exists()}


def _success(success: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Members that are counted together, by what they have in common, with their shares."""
    keys = ["group", "over", *HYPERPARAMETERS]
    for (name, over, *_), rows in success.groupby(keys, sort=False, dropna=False):
        beside = success[(success["group"] == name) & (success["over"] == over)]
        # Of that in which the rows beside it differ.
        alike = [n for n in HYPERPARAMETERS if n == ALIKE.get(over) or beside[n].nunique() > 1]
        if (beside["data_seed"] == beside["seed"]).all():
            alike = [name for name in alike if name != "data_seed"]
        shares = rows.sort_values("threshold").to_dict("records")
        yield {"group": name, "over": over, "alike": alike, "shares": shares}
