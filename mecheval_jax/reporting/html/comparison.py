"""The comparison of several runs of one task in a report: a table and common figures."""

import functools
import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from mecheval_jax.evaluation.verdict.readings import look_up_site
from mecheval_jax.files import damaged
from mecheval_jax.reporting.figures import analyses, comparison_figures
from mecheval_jax.reporting.figures import run_figures as figures
from mecheval_jax.reporting.figures.saving import picture
from mecheval_jax.reporting.html.reading import ATTENTION, Reported, read_analysis
from mecheval_jax.reporting.html.run_tables import count, plain
from mecheval_jax.reporting.html.sections import asked
from mecheval_jax.reporting.numbers import number, percent
from mecheval_jax.reporting.table import Column, Table
from mecheval_jax.reporting.terminal.tables import show_runs
from mecheval_jax.reporting.words import evidence_sites, look_up_words, run_values
from mecheval_jax.store.folder import TABLES
from mecheval_jax.store.left_out import LeftOut
from mecheval_jax.store.remedies import written_by
from mecheval_jax.study.published.tables import published_beside

MOST_CURVES = 28
"""Number of runs up to which their training is drawn in one figure; more look alike."""

COLUMNS = (
    Column("run", link="link"),
    Column("mixer"),
    Column("width", form=plain),
    Column("learning_rate", form=plain),
    Column("seed", form=plain),
    Column("accuracy", form=percent, ends=True),
    Column("published", form=percent),
    Column("floor", "best floor", percent),
    Column("@value", form=number, ends=True),
    Column("bound_at"),
    Column("@key", form=number, ends=True),
    Column("@query", form=number, ends=True),
    Column("verdict"),
    Column("layer", form=count),
)


def comparison(
    runs: Sequence[Reported],
    ids: Mapping[str, str],
    home: pathlib.Path,
    prefix: str,
    left_out: LeftOut,
) -> dict[str, Any]:
    """Table and figures of several runs of one task; also prints the table.

    Args:
        runs: Runs to compare.
        ids: Id of each run's section, by the name of the run.
        home: Folder of the report.
        prefix: Name of the comparison, with which the names of its files begin.
        left_out: Where parts are noted that are damaged.
    """
    # A run that has not come to an end is described by its config.
    described = {run.name: {n: run.config["model"][n] for n in ("mixer", "width")} for run in runs}
    # The table, on the terminal and beside the page.
    summaries = {run.name: described[run.name] | run.summary for run in runs}
    show_runs(summaries)
    rows = [
        run_values(summaries[run.name])
        | {name: run.config["training"][name] for name in ("learning_rate", "seed")}
        | {"run": run.name, "link": f"#{ids[run.name]}"}
        | {"published": published_beside(run.config["task"], run.config["model"])}
        for run in runs
    ]
    known = [c for c in COLUMNS if any(row.get(c.name) is not None for row in rows)]
    table = Table(f"{prefix}_runs", "Runs side by side", known, rows, of="run")
    table.write(home / TABLES)
    # Figures of what was measured in several runs.
    measured = {run.name: run.table for run in runs if run.table is not None}
    sites = [site for rows in measured.values() for site in rows["site"].astype(str).unique()]
    later, earlier = look_up_words(look_up_site([*evidence_sites(summaries.values()), *sites]))
    scatter, placed = figures.layer_scatter(measured)
    drawn = {}
    if placed:
        words = "attribution at the value against the query"
        drawn["scatter"] = (scatter, later.replace(" ", "_"), words)
    drawn |= dict(_further(runs, rows, left_out))
    first = functools.partial(asked, runs[0])
    return {
        "id": prefix,
        "task": runs[0].config["task"]["name"],
        "table": table,
        "first": vars(runs[0]) | left_out.part(runs[0].name, first, asked(runs[0], brief=True)),
        "figures": {
            kind: picture(figure, home / "figures", f"{prefix}_{name}", f"{prefix}-{kind}", words)
            for kind, (figure, name, words) in drawn.items()
        },
        "later": later,
        "earlier": earlier,
        "absent": [run.name for run in runs if run.name not in placed],
    }


def _further(
    runs: Sequence[Reported], rows: Sequence[Mapping[str, Any]], left_out: LeftOut
) -> Iterator[tuple[str, tuple[Figure, str, str]]]:
    """Figures by kind, with the names of their files and descriptions for screen readers."""
    answered = [row for row in rows if row["accuracy"] is not None]
    if len({row["width"] for row in answered}) > 1:
        figure = comparison_figures.accuracy_by_width(answered)
        yield "width", (figure, "width", "accuracy against width")
    trained = {run.name: run.metrics for run in runs if run.metrics}
    if 0 < len(trained) <= MOST_CURVES:
        floors = {run.name: run.floors["best"] for run in runs if "best" in run.floors}
        curves = figures.accuracy_over_steps(trained, floors)
        yield "accuracy", (curves, "accuracy", "accuracy over steps of all runs")
    read, tokens = _attention_on_one_document(runs, left_out)
    if read:
        images = analyses.attention_images(read, tokens)
        yield "attention", (images, "attention", "what each run reads in one document")


MOST_ATTENTION = 8
"""Number of runs whose attention is drawn in one figure."""


def _attention_on_one_document(
    runs: Sequence[Reported], left_out: LeftOut
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Matrices of the runs that were measured on the same document, by title.

    Nothing if no two runs have the same document.
    """
    groups: dict[str, list[tuple[Reported, dict[str, np.ndarray], list[str]]]] = {}
    for run in runs:
        read = functools.partial(_attention, run)
        found = left_out.part(f"{run.name}, attention", read, None)
        if found is not None:
            matrices, tokens = found
            groups.setdefault(json.dumps(tokens), []).append((run, matrices, tokens))
    largest = max(groups.values(), key=len, default=[])[:MOST_ATTENTION]
    if len(largest) < 2:
        return {}, []
    titled = {
        f"{run.name}, {title}": matrix
        for run, matrices, _ in largest
        for title, matrix in matrices.items()
    }
    return titled, largest[0][2]


def _attention(run: Reported) -> tuple[dict[str, np.ndarray], list[str]] | None:
    """Matrices by title and the tokens of their document; None where they were not measured."""
    path = run.folder.analysis("attention")
    if not path.exists():
        return None
    table = read_analysis(path, ATTENTION)
    try:
        return analyses.matrices_of(table)
    except ValueError as error:  # a cell that is there twice
        raise damaged(path, error, written_by("evaluate")) from None
