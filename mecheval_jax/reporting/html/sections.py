"""The section of a report that is about one run: its figures, tables and missing parts."""

import functools
import pathlib
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from markupsafe import Markup

from mecheval_jax.errors import UserError, shown
from mecheval_jax.evaluation.patching.effects import SMALLEST_GAP
from mecheval_jax.evaluation.verdict.readings import look_up_site
from mecheval_jax.files import damaged
from mecheval_jax.reporting.figures import run_figures as figures
from mecheval_jax.reporting.figures.analyses import FIGURES
from mecheval_jax.reporting.figures.saving import picture, save
from mecheval_jax.reporting.html import cost_tables, reading, run_tables
from mecheval_jax.reporting.html.commands import again, commands
from mecheval_jax.reporting.html.drawn_document import drawn, fits, read_lines, restored_lines
from mecheval_jax.reporting.html.reading import ATTENTION, Reported
from mecheval_jax.reporting.words import accuracy, distractor, look_up_words, notes
from mecheval_jax.store.folder import TABLES
from mecheval_jax.store.remedies import written_by
from mecheval_jax.store.run_folder import RunFolder
from mecheval_jax.tasks.base import Task
from mecheval_jax.tasks.example import Example, example
from mecheval_jax.training.data import evaluation_batch


def section(run: Reported, prefix: str, brief: bool) -> dict[str, Any]:
    """The content of the template for one run; draws its figures.

    Args:
        run: Run of the section.
        prefix: Name of the section, with which the ids of its figures begin.
        brief: Whether to show only the verdict and its evidence, without figures, on a page of many
            runs.
    """
    evidence = run.summary.get("evidence") or {}
    gap = evidence.get("gap")
    own = list(run_tables.of(run))
    costs = {} if brief else cost_tables.of_run(run)
    of_costs = [costs[name] for name in ("cost", "measured") if name in costs]
    grids = [] if run.table is None else list(run_tables.grids(run.table))
    if not brief:
        for table in (*own, *of_costs, *(grid.table for grid in grids)):
            table.write(run.home / TABLES)
    return vars(run) | {
        "id": prefix,
        "provenance": {k: v for k, v in run.provenance.items() if k != "arguments"},
        "missing": list(_missing(run)),
        "accuracy": accuracy(run.summary),
        "gap": gap,
        "smallest_gap": SMALLEST_GAP,
        "is_faint": gap is not None and gap <= SMALLEST_GAP,
        "distractor": distractor(evidence) if "distractor" in evidence else None,
        "notes": notes(evidence),
        "tables": {table.name: table for table in own},
        "costs": costs,
        "grids": [grid for grid in grids if grid.has_numbers][:1] if brief else grids,
        "places": run_tables.places(run.summary),
        "later": _later(run),
        "figures": {} if brief else dict(_figures(run, prefix)),
        "analyses": {} if brief else dict(analyses(run, prefix)),
        **asked(run, brief),
        "csv": str(run.folder.interchange),
        "commands": commands(run) if brief else again(run),
        "brief": brief,
    }


def _later(run: Reported) -> str:
    sites = [] if run.table is None else run.table["site"].astype(str)
    return look_up_words(look_up_site(sites))[0]


def _figures(run: Reported, prefix: str) -> Iterator[tuple[str, Markup]]:
    """Draw and save all figures; gives those on the page, by their kinds."""
    home = run.figures
    if run.metrics:
        floors = {run.name: run.floors["best"]} if "best" in run.floors else {}
        curves = figures.accuracy_over_steps({run.name: run.metrics}, floors)
        yield "accuracy", picture(curves, home, "accuracy", f"{prefix}-a", "accuracy over steps")
    yield from over_training(run, prefix)
    for pair in [] if run.table is None else run_tables.measured(run.table):
        heat_map = figures.attribution_heat_map(run.table, *pair)
        save(heat_map, home, "_".join(("attribution", *pair)))  # for papers: the page has a table


def over_training(run: Reported, prefix: str) -> Iterator[tuple[str, Markup]]:
    """Draw how the evidence of the verdict came, if several checkpoints were looked at."""
    training = run.summary.get("over_training") or {}
    if run.history is not None and training.get("steps"):
        name, seen = "attribution_over_steps", (training["steps"], training["transitions"])
        lines = figures.attribution_over_steps(run.history, *seen)
        at = run.figures
        yield "training", picture(lines, at, name, f"{prefix}-t", "attribution over steps")


FAULTS = (LookupError, ValueError, TypeError, AttributeError, ArithmeticError)
"""Errors of drawing a table that is not what was written."""


def analyses(
    run: Reported, prefix: str, names: Collection[str] | None = None
) -> Iterator[tuple[str, Markup]]:
    """Draw the figure of every analysis, or of those of some names, that has tables."""
    found = {
        path.stem: reading.read_analysis(path)
        for path in sorted(run.folder.analyses.glob("*.csv"))
        if names is None or path.stem in names
    }
    for name, draw in FIGURES.items():
        if name not in found:
            continue
        try:
            figure = draw(found)
        except FAULTS as error:  # of pandas or matplotlib
            raise damaged(
                run.folder.analysis(name), shown(error, 200), written_by("evaluate")
            ) from None
        yield name, picture(figure, run.figures, name, f"{prefix}-{name}", name)


def asked(run: Reported, brief: bool = False) -> dict[str, Any]:
    """An example document, drawn in up to three ways, and its first questions.

    ``asked`` is the document alone. Below its tokens, ``restored`` shows the share of the answer
    that the residual stream restores at each role, and ``read`` the weights with which the mixers
    read each token at the query. Both are there only if they were measured. ``chance`` and the
    table ``floors`` are what answers without recall.

    Args:
        run: Run that answers questions about such documents.
        brief: Whether to show no document.
    """
    floors = run_tables.floors(run)
    if brief:
        return {"documents": {}, "questions": (), "chance": None, "floors": floors}
    task = run.experiment.task
    document = _kept(run)
    if document is None:
        training, used = run.experiment.training, run.experiment.evaluation
        document = _first(task, training.data_seed, used.documents, used.split)
    drawings = {"asked": drawn(document)}
    if run.table is not None and (lines := restored_lines(document, run.table)):
        drawings["restored"] = drawn(document, lines)
    path = run.folder.analysis("attention")
    if path.exists():
        rows = reading.read_analysis(path, ATTENTION)
        if fits(document, rows):
            drawings["read"] = drawn(document, read_lines(document, rows))
    return {
        "documents": drawings,
        "questions": document.questions[:MOST_QUESTIONS],
        "chance": task.chance,
        "floors": floors,
    }


def question(folders: Iterable[RunFolder], home: pathlib.Path) -> dict[str, Any] | None:
    """What runs of one task were asked, for the template; writes the table of their floors.

    Args:
        folders: Folders of the runs; the first that can be read speaks for all.
        home: Folder of the report.

    Returns:
        A run with what `asked` says of it; None if none can be read, as where a file of documents
        is gone.
    """
    for folder in folders:
        try:
            run = reading.read(folder, folder.name)
            found = asked(run)
        except UserError:  # the rest of the page does not need it
            continue
        if found["floors"].rows:
            found["floors"].write(home / TABLES)
        return vars(run) | found
    return None


MOST_QUESTIONS = 4
"""Number of questions about an example document that are spelled out."""


def _kept(run: Reported) -> Example | None:
    """The document that a run's folder keeps; None where one must be drawn."""
    try:
        return run.folder.read_example()
    except UserError:
        return None


@functools.lru_cache(maxsize=8)
def _first(task: Task, seed: int, documents: int, split: str) -> Example:
    """The first of the evaluation documents of runs with a data seed."""
    return example(task, evaluation_batch(task, seed, documents, split), 0)


def _missing(run: Reported) -> Iterator[tuple[str, str]]:
    """Parts that the report lacks, and the commands that make them."""
    summary, (train, intervene, _) = run.summary, commands(run)
    if not summary.get("finished") and summary.get("diverged_at") is not None:
        yield f"Training diverged at step {summary['diverged_at']}.", ""
    elif not summary.get("finished"):
        done = max((row["step"] for row in run.metrics), default=0)
        yield f"Training is not finished: step {done:,} of {run.steps:,}.", train
    if run.table is None:
        yield "There is no interchange.csv: no intervention was made.", intervene
    elif "verdict" not in summary:
        yield "The interventions that were made do not suffice for a verdict.", intervene
    elif {int(step) for step in run.table["step"]} - {summary.get("evidence_step")}:
        yield "The verdict is of another step than interchange.csv.", intervene
    # A run that reached its target accuracy ended before the steps of its config.
    end = summary.get("step", run.steps) if summary.get("finished") else run.steps
    if summary.get("verdict") and summary.get("evidence_step") != end:
        step = f"{summary.get('evidence_step')} of {end}"
        yield f"The verdict is of step {step}, before the end of training.", intervene
