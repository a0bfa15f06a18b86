"""The report of a sweep: one HTML file with its figures, tables, and links to its best members."""

import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mecheval_jax import programs
from mecheval_jax.console import say
from mecheval_jax.evaluation.representations.mixing_matrices import has_matrices
from mecheval_jax.files import read_json, write_text
from mecheval_jax.forms import COUNT
from mecheval_jax.reporting.figures import comparison_figures
from mecheval_jax.reporting.figures import sweep_figures as figures
from mecheval_jax.reporting.figures.saving import picture
from mecheval_jax.reporting.html import reading, sweep_tables
from mecheval_jax.reporting.html.chosen import chosen
from mecheval_jax.reporting.html.page import render, text_of
from mecheval_jax.reporting.html.sections import (
    analyses,
    asked,
    over_training,
    question,
    section,
)
from mecheval_jax.reporting.table import Table
from mecheval_jax.store.folder import TABLES
from mecheval_jax.store.forms import PROVENANCE
from mecheval_jax.store.left_out import LeftOut
from mecheval_jax.store.metrics import Curves, by_member, dev_rows
from mecheval_jax.store.provenance import found_from
from mecheval_jax.store.run_folder import RunFolder
from mecheval_jax.store.status import DAMAGED, NamedStatus, Overview, read_overview
from mecheval_jax.store.sweep_folder import GroupFolder, SweepFolder, confidence_of
from mecheval_jax.store.sweep_tables import SweepTables, wide

SHAPES = 24
"""Number of shapes in one figure; a larger sweep has several figures of each kind."""


def write_sweep_report(folder: SweepFolder, found: SweepTables) -> None:
    """Draw the figures of a sweep and write ``report.html``.

    Unfinished groups are named, and have learning curves so far. Files that are damaged are named,
    too, and what the others give is shown.

    Args:
        folder: Folder of the sweep.
        found: Tables of the sweep.

    Raises:
        UserError: If the folder holds no sweep, or a damaged ``sweep.json``.
    """
    content, left_out = folder.read(), found.left_out
    # Tables of all members, and how their accuracy came.
    overview = _overview(folder, left_out)
    titles = {one.name: one.title for one in overview.groups}
    curves = {
        name: left_out.part(name, functools.partial(_curves, folder.group(name)), {})
        for name in titles
    }
    of = sweep_tables.of(folder, overview, found)
    of["rises"] = sweep_tables.rises(found.best, curves, titles)
    for table in of.values():
        table.write(folder.path / TABLES)
    # The best member of each group speaks for its shape.
    best = [
        (row.group, RunFolder(folder.group(row.group).member(row.member)))
        for row in found.best.itertuples()
    ]
    of_choice = chosen(folder.path, left_out)
    advised = (of_choice["advice"] and of_choice["advice"].model) or {}
    shown, unshown = _shown(best, advised.get("group"))
    mechanisms = list(_mechanisms(shown, titles, advised.get("group"), left_out))
    for one in mechanisms:
        heat_maps = [grid.table for grid in one["grids"]] or [one["places"]]
        for table in (*one["tables"].values(), *filter(None, heat_maps)):
            table.write(folder.path / TABLES / one["group"])
    # The page.
    varied = _varied(content["members"])
    values = {
        "name": folder.path.absolute().name,
        "content": content,
        "varied": varied,
        "task_fields": [field for field, _ in varied if field.startswith("task.")],
        "confidence": confidence_of(content),
        "groups": overview.groups,
        "titles": titles,
        "resume": overview.resume,
        "program": lambda name: found_from(overview.python_path, programs.command(name)),
        "tables": of,
        "figures": list(_figures(folder, overview, found, curves, of["rises"])),
        "question": question((run for _, run in best), folder.path),
        "mechanisms": mechanisms,
        "unshown": [titles[group] for group in unshown],
        "chosen": of_choice,
        "runs": [run.path for _, run in best],
        "output": folder.path / "best",
        "provenance": left_out.part("provenance", functools.partial(_provenance, folder), {}),
    }
    write_text(folder.report, render("sweep_report.html.jinja", left_out, **values))
    say(f"report: {folder.report}")


MOST_MECHANISMS = 24
"""Number of shapes for which the page shows the evidence of the best member's verdict."""


def _shown(
    best: Iterable[tuple[str, RunFolder]], advised: str | None
) -> tuple[list[tuple[str, RunFolder]], list[str]]:
    """The members whose evidence is shown, that of the advised group first; groups of the others.

    The best member of each shape is shown if it has interventions.
    """
    measured = [(group, run) for group, run in best if run.interchange.exists()]
    measured.sort(key=lambda one: one[0] != advised)
    return measured[:MOST_MECHANISMS], [group for group, _ in measured[MOST_MECHANISMS:]]


def _mechanisms(
    best: Iterable[tuple[str, RunFolder]],
    titles: Mapping[str, str],
    advised: str | None,
    left_out: LeftOut,
) -> Iterator[dict[str, Any]]:
    """The members whose evidence is shown, each as a section.

    That of the group that is advised has its effective attention as a whole, too.
    """
    for index, (group, run) in enumerate(best):
        if run.config.exists():
            whole = group == advised
            drawn = functools.partial(_mechanism, run, titles[group], f"best{index}", whole)
            found = left_out.part(f"{titles[group]}, its best member", drawn, None)
            if found is not None:
                yield found | {"group": group}


def _mechanism(folder: RunFolder, title: str, prefix: str, whole: bool) -> dict[str, Any]:
    run = reading.read(folder, title)
    found = section(run, prefix, brief=True) | asked(run)
    found["figures"] = dict(over_training(run, prefix))
    found["analyses"] = dict(analyses(run, prefix, ("attention",))) if whole else {}
    model = run.experiment.model
    found["is_linear"] = all(has_matrices(model.build_mixer(i)) for i in range(model.layers))
    return found


def _provenance(folder: SweepFolder) -> dict[str, Any]:
    return read_json(folder.provenance, PROVENANCE, absent={})


def _overview(folder: SweepFolder, left_out: LeftOut) -> Overview:
    """The progress of all groups; of one whose status is damaged, what its table says.

    The command that made the sweep is not known where a file is damaged.
    """
    for group in folder.groups():
        left_out.part(group.name, group.check_table, None)
    overview = read_overview(folder.path)
    for name, reason in overview.left_out.items():
        left_out.note(name, reason)
    for one in overview.groups:
        if one.status.state == DAMAGED:
            one.status.state = "finished" if folder.group(one.name).has_table() else "waiting"
    return overview


def _figures(
    folder: SweepFolder,
    overview: Overview,
    found: SweepTables,
    curves: Mapping[str, Curves],
    rises: Table,
) -> Iterator[dict[str, Any]]:
    """Draw and save all figures; gives the content of the page for each."""
    members, best = found.members, found.best
    finished = set(members["group"])
    titles = {one.name: one.title for one in overview.groups if one.name in finished}
    with_verdict = set(members.loc[members["metric"] == "verdict", "group"])
    of_verdicts = {name: title for name, title in titles.items() if name in with_verdict}
    of_curves = {one.name: _with_state(one) for one in overview.groups if curves[one.name]}
    chosen = dict(zip(best["group"], best["member"], strict=True))
    spans = {
        row["group"]: (row["low"], row["high"]) for row in rises.rows if row["high"] is not None
    }
    drawn = {
        "accuracy_by_rate": (titles, lambda page: figures.accuracy_by_rate(members, page)),
        "success_by_shape": (titles, lambda page: figures.success_by_shape(found.success, page)),
        "learning_curves": (
            of_curves,
            lambda page: figures.learning_curves(curves, page, members, chosen, spans),
        ),
        "verdicts_by_shape": (of_verdicts, lambda page: figures.verdicts_by_shape(members, page)),
    }
    models = sweep_tables.models(wide(members), folder.read())
    if len({row["width"] for row in models}) > 1:
        name = "accuracy_by_width"
        figure = comparison_figures.accuracy_by_width(models)
        svg = picture(figure, folder.figures, name, name, "accuracy by width")
        yield {"kind": name, "svg": svg}
    for kind, (shapes, draw) in drawn.items():
        pages = _pages(shapes)
        for number, page in enumerate(pages, 1):
            name = kind if len(pages) == 1 else f"{kind}_{number}"
            svg = picture(draw(page), folder.figures, name, name, name.replace("_", " "))
            yield {"kind": kind, "svg": svg}


def _pages(titles: Mapping[str, str]) -> list[dict[str, str]]:
    """The shapes of each figure of one kind."""
    items = list(titles.items())
    return [dict(items[i : i + SHAPES]) for i in range(0, len(items), SHAPES)]


def _curves(group: GroupFolder) -> Curves:
    """Rows on dev documents so far, by member."""
    return by_member(dev_rows(group.metrics, COUNT))


def _with_state(one: NamedStatus) -> str:
    status = one.status
    if status.state == "finished":
        return one.title
    return f"{one.title}, {status.state} at step {status.step:,} of {status.steps:,}"


def _varied(members: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Fields that members change, with their values."""
    values: dict[str, dict[str, None]] = {}
    for changes in members:
        for field, value in changes.items():
            values.setdefault(field, {})[text_of(value)] = None
    return [(field, ", ".join(taken)) for field, taken in values.items()]
