"""The report: one HTML file that carries its figures, and needs no network to be read."""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from mecheval_jax import programs
from mecheval_jax.console import say
from mecheval_jax.errors import UserError, choose
from mecheval_jax.evaluation.config import DIRECTIONS
from mecheval_jax.evaluation.verdict.readings import look_up_site
from mecheval_jax.files import read_json, read_table, write_text
from mecheval_jax.reporting.figures import analyses
from mecheval_jax.reporting.figures import run_figures as figures
from mecheval_jax.reporting.figures.drawing import picture
from mecheval_jax.reporting.html.page import render
from mecheval_jax.reporting.html.sections import Reported, section
from mecheval_jax.reporting.terminal import tables
from mecheval_jax.store.run_folder import RunFolder
from mecheval_jax.store.tables import PLACE

NEEDED = {"step", *PLACE, "metric", "value"}
NUMBERS = ("layer", "value", "low", "high")


def write(workdirs: Sequence[str], output: str | None = None) -> pathlib.Path:
    """Draw the figures of every run and write the report.

    Args:
        workdirs: Folders of runs; one that is named twice counts once.
        output: Folder of the report; the first run's if None.

    Returns:
        Path of ``report.html``.

    Raises:
        UserError: If a folder holds no run, files are damaged, or the output is a file.
    """
    folders = list(
        {path.resolve(): RunFolder(path) for path in map(pathlib.Path, workdirs)}.values()
    )
    if not folders:
        raise UserError("no run to report: give a workdir")
    runs = [_read(folder, name) for folder, name in zip(folders, _names(folders), strict=True)]
    home = pathlib.Path(output) if output is not None else folders[0].path
    try:
        home.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UserError(f"output {home} is no folder") from None
    sections = [section(run, f"run{index}") for index, run in enumerate(runs)]
    comparison = _comparison(runs, home) if len(runs) > 1 else None
    path = home / "report.html"
    write_text(path, render("report.html.jinja", runs=sections, comparison=comparison))
    say(f"report: {path}")
    return path


def _read(folder: RunFolder, name: str) -> Reported:
    experiment = folder.experiment()
    table = _read_table(folder.interchange) if folder.interchange.exists() else None
    return Reported(
        name,
        folder,
        experiment.as_dict(),  # with the defaults of fields that an older file lacks
        read_json(folder.provenance, absent={}),
        folder.read_summary(),
        folder.read_metrics(),
        None if table is None else tables.newest(table),
        table if table is not None and table["step"].nunique() > 1 else None,
    )


def _read_table(path: pathlib.Path) -> pd.DataFrame:
    remedy = f"{programs.command('intervene')} writes it"
    table = read_table(path, remedy)
    try:
        missing = NEEDED - set(table.columns)
        if missing:
            raise UserError(f"no column {', '.join(sorted(missing))}")
        for column in NUMBERS:
            table[column] = pd.to_numeric(table[column])
        table = table[table["metric"].notna()]  # a last line that was cut off
        for direction in table["direction"].unique():
            choose("direction", direction, DIRECTIONS)
        for corruption in table["corruption"].unique():
            if not str(corruption).isidentifier():  # it becomes part of a file's name
                raise UserError(f"corruption {corruption!r} is no role")
    except ValueError as error:
        raise UserError(f"{path} is damaged: {error}; {remedy}") from None
    return table


def _names(folders: Sequence[RunFolder]) -> list[str]:
    """Folder names, with as many parents as it takes to tell them apart."""
    parts = [folder.path.resolve().parts for folder in folders]
    depths = range(1, max(map(len, parts)) + 1)
    named = (["/".join(part[-depth:]) for part in parts] for depth in depths)
    return next(names for names in named if len(set(names)) == len(names))


def _comparison(runs: Sequence[Reported], home: pathlib.Path) -> Mapping[str, Any]:
    """Table and figures of several runs; prints the table, too."""
    # With what the config says, where a run has not come to an end.
    models = {run.name: run.config["model"] for run in runs}
    described = {name: {n: model[n] for n in ("mixer", "width")} for name, model in models.items()}
    summaries = {run.name: described[run.name] | run.summary for run in runs}
    tables.show_runs(summaries)
    measured = {run.name: run.table for run in runs if run.table is not None}
    sites = [site for table in measured.values() for site in table["site"].astype(str).unique()]
    sites = [*tables.evidence_sites(summaries.values()), *sites]
    later, earlier = tables.look_up_words(look_up_site(sites))
    # None: nothing to draw
    drawn: dict[str, Any] = dict.fromkeys(("scatter", "accuracy", "attention"))

    def draw(kind: str, figure: Figure, name: str, description: str) -> None:
        drawn[kind] = picture(figure, home / "figures", f"comparison_{name}", kind, description)

    scatter, placed = figures.layer_scatter(measured)
    if placed:
        description = "attribution at the value against the query"
        draw("scatter", scatter, later.replace(" ", "_"), description)
    trained = {run.name: run.metrics for run in runs if run.metrics}
    if trained:
        floors = {run.name: run.floors["best"] for run in runs if "best" in run.floors}
        curves = figures.accuracy_over_steps(trained, floors)
        draw("accuracy", curves, "accuracy", "accuracy over steps of all runs")
    read, tokens = _attention_on_one_document(runs)
    if read:
        images = analyses.attention_images(read, tokens)
        draw("attention", images, "attention", "what each run reads in one document")
    return {
        "rows": [tables.run_row(name, summary) for name, summary in summaries.items()],
        "figures": drawn,
        "later": later,
        "earlier": earlier,
        "absent": [run.name for run in runs if run.name not in placed],
    }


def _attention_on_one_document(
    runs: Sequence[Reported],
) -> tuple[dict[str, np.ndarray], list[str]]:
    """The matrices of the runs that looked at the document that most of them did, by title.

    Nothing if no two runs have the same task and document.
    """
    groups: dict[str, list[tuple[Reported, dict[str, np.ndarray], list[str]]]] = {}
    for run in runs:
        path = run.folder.analyses / "attention.csv"
        if path.exists():
            # A token may be called "nan" or "None".
            matrices, tokens = analyses.matrices_of(read_table(path, keep_default_na=False))
            document = json.dumps([run.config["task"], tokens], sort_keys=True)
            groups.setdefault(document, []).append((run, matrices, tokens))
    largest = max(groups.values(), key=len, default=[])
    if len(largest) < 2:
        return {}, []
    titled = {
        f"{run.name}, {title}": matrix
        for run, matrices, _ in largest
        for title, matrix in matrices.items()
    }
    return titled, largest[0][2]
