"""What the report says of one run: the figures of its folder, and what its files hold."""

import dataclasses
import shlex
from collections.abc import Iterator
from typing import Any

import pandas as pd

from mecheval_jax import programs
from mecheval_jax.evaluation.verdict.evidence import CORRUPTION
from mecheval_jax.evaluation.verdict.readings import look_up_site
from mecheval_jax.reporting.figures import run_figures as figures
from mecheval_jax.reporting.figures.analyses import FIGURES
from mecheval_jax.reporting.figures.drawing import inline, picture
from mecheval_jax.reporting.terminal import tables
from mecheval_jax.store.run_folder import RunFolder
from mecheval_jax.store.tables import read_slices


@dataclasses.dataclass(frozen=True)
class Reported:
    """What a run folder holds so far.

    Attributes:
        name: Name by which this report knows the run.
        folder: Files of the run.
        config: Experiment of the run, as plain values.
        provenance: Content of ``provenance.json``; empty if there is none.
        summary: Content of ``summary.json``; empty if there is none.
        metrics: Rows of ``metrics.jsonl``.
        table: Last step of ``interchange.csv``; None if there is none.
        history: All steps of ``interchange.csv``, where there are several.
    """

    name: str
    folder: RunFolder
    config: dict[str, Any]
    provenance: dict[str, Any]
    summary: dict[str, Any]
    metrics: list[dict[str, Any]]
    table: pd.DataFrame | None
    history: pd.DataFrame | None

    @property
    def floors(self) -> dict[str, float]:
        """Accuracies of heuristics without recall, where known."""
        return self.summary.get("floors", {})

    @property
    def steps(self) -> int:
        """Training steps of the whole run."""
        return self.config["training"]["steps"]


def section(run: Reported, prefix: str) -> dict[str, Any]:
    """Everything that the template shows of one run; draws its figures.

    Args:
        run: Run that is reported.
        prefix: Name of the section, with which the ids of its figures begin.
    """
    evidence = run.summary.get("evidence") or {}
    origin = {k: v for k, v in run.provenance.items() if k != "arguments"}
    further = {name: run.folder.figures / f"{name}.svg" for name in FIGURES}
    return vars(run) | {
        "id": prefix,
        "provenance": origin,
        "missing": list(_missing(run)),
        "accuracy": tables.accuracy(run.summary),
        "slices": read_slices(run.folder.slices),
        "evidence": tables.readings(evidence),
        "gap": evidence.get("gap"),
        "distractor": tables.distractor(evidence) if "distractor" in evidence else None,
        "figures": list(_figures(run, prefix)),
        "analyses": {
            name: inline(path, f"{prefix}-{name}", name)
            for name, path in further.items()
            if path.exists()
        },
        "csv": str(run.folder.interchange),
        "commands": _commands(run),
    }


def _figures(run: Reported, prefix: str) -> Iterator[dict[str, Any]]:
    """Draw and save every figure; what the page shows of each."""
    home = run.folder.figures
    if run.metrics:
        floors = {run.name: run.floors["best"]} if "best" in run.floors else {}
        curves = figures.accuracy_over_steps({run.name: run.metrics}, floors)
        svg = picture(curves, home, "accuracy", f"{prefix}-a", "accuracy over steps")
        yield {"kind": "accuracy", "floor": bool(floors), "svg": svg}
    training = run.summary.get("over_training")
    if run.history is not None and training:
        name = "attribution_over_steps"
        lines = figures.attribution_over_steps(
            run.history, training["steps"], training["transitions"]
        )
        svg = picture(lines, home, name, f"{prefix}-t", "attribution over steps")
        yield {"kind": "training", "svg": svg}
    if run.table is None:
        return
    later, _ = tables.look_up_words(look_up_site(run.table["site"].astype(str)))
    # What the verdict reads comes first.
    measured = run.table.loc[run.table["metric"] == "attribution", ["corruption", "direction"]]
    pairs = list(set(measured.itertuples(index=False, name=None)))
    pairs.sort(key=lambda pair: (pair[0] != CORRUPTION, pair[0], pair[1] != "restore"))
    for pair in pairs:
        heat_map = figures.attribution_heat_map(run.table, *pair)
        title = "{} corrupted, {}".format(*pair)
        name = "_".join(("attribution", *pair))
        svg = picture(heat_map, home, name, "-".join((prefix, *pair)), f"attribution, {title}")
        yield {
            "kind": "heat_map",
            "corruption": pair[0],
            "direction": pair[1],
            "title": title,
            "later": later,
            "svg": svg,
            **_grid(tables.attributions(run.table, *pair)),
        }


def _grid(rows: pd.DataFrame) -> dict[str, Any]:
    """Sites x roles of one heat map, with intervals."""
    roles, lines = tables.by_site(rows)
    texts = [(site, [(tables.starred(c), tables.interval(c)) for c in own]) for site, own in lines]
    return {"roles": roles, "lines": texts}


def _missing(run: Reported) -> Iterator[tuple[str, str]]:
    """What the report cannot show, and the command that makes it."""
    summary, (train, intervene, _) = run.summary, _commands(run)
    if not summary.get("finished") and "diverged_at" in summary:
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
    if summary.get("verdict") and summary.get("evidence_step") != run.steps:
        step = f"{summary.get('evidence_step')} of {run.steps}"
        yield f"The verdict is of step {step}, before the end of training.", intervene


def _commands(run: Reported) -> list[str]:
    """Commands that train the run, intervene on it and report it."""
    workdir = shlex.quote(f"--workdir={run.folder.path}")
    arguments = run.provenance.get("arguments", [])
    # A run that Python trained without the program has no command line of its own.
    known = any(argument.lstrip("-").startswith("config") for argument in arguments)
    train = shlex.join(arguments) if known else f"--config=CONFIG {workdir}"
    return [
        f"{programs.command('train')} {train}",
        f"{programs.command('intervene')} {workdir}",
        f"{programs.command('report')} {workdir}",
    ]
