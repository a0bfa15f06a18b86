"""What the report says of one run: words and numbers, and the figures of its folder."""

import dataclasses
import json
import shlex
from collections.abc import Iterator
from typing import Any

import pandas as pd

from mecheval_jax.evaluation.verdict.evidence import CORRUPTION
from mecheval_jax.evaluation.verdict.readings import at, look_up_site
from mecheval_jax.reporting.figures import run_figures as figures
from mecheval_jax.reporting.figures import training_figures
from mecheval_jax.reporting.figures.drawing import inline, save
from mecheval_jax.reporting.terminal import tables
from mecheval_jax.store.run_folder import RunFolder
from mecheval_jax.store.tables import read_slices

VERDICTS = {
    "induction": "recalls by induction: the pair is bound in the context, and layer {layer} "
    "looks it up.",
    "direct_retrieval": "recalls by direct retrieval: layer {layer} fetches the answer at the "
    "query, and nothing is bound in the context before.",
    "convolutional_binding": "forms the pair by a convolution inside layer {layer}, which fetches "
    "the answer at the query.",
    "mixed": "recalls by both routes: what layer {layer} reads is carried by the context and by "
    "the query or the key.",
    "not_learned": "has not learned to recall, so that no mechanism is named.",
    "undecided": "recalls, but the evidence does not decide by which mechanism.",
}

BINDINGS = {
    "convolution_at_value": "One vector of a convolution, at the value, holds the pair.",
    "convolution_at_next_key": "One vector of a convolution, at the token after the value, holds "
    "the pair.",
    "none": "No vector of a convolution alone holds the pair.",
    "undecided": "Whether a vector of a convolution holds the pair is not clear.",
}

FLOORS = {
    "uniform": "any token of the class",
    "in_document": "any answer that the document contains",
    "first": "the document's first",
    "last": "the document's last",
    "majority": "the commonest answer",
    "copy_next": "the token after the asked one",
    "copy_previous": "the token before the asked one",
    "copy_query": "the asked token",
    "copy_last": "the document's last that can be an answer",
    "copy_first": "the document's first that can be an answer",
    "by_type": "the best of these for each type of query",
    "per_query_majority": "the commonest answer to the asked token",
    "bigram": "the commonest successor of the asked token",
}


ANALYSES = {
    "gradients": "Attribution by gradient against what was measured: on the dashed line both are "
    "the same. Trust the estimate where the rank correlation is high.",
    "circuits": "How much of the answer comes back when only the best edges carry the clean run. A "
    "circuit means something as far as it lies above random edges.",
    "probes": "What a linear probe reads off the activations, beside the same probe fitted to "
    "shuffled labels. That something can be read does not mean that the model reads it.",
    "subspaces": "How often exchanging a subspace gives the answer of the other document. The "
    "learned one counts as far as it lies above its controls.",
    "attention": "Which token each mixer reads at which, in one document. A softmax pattern and "
    "the effective attention of other mixers are drawn alike; only places can be compared.",
    "lens": "The answer as the last norm and the output head would read it after each layer.",
}
"""Further analyses in the order of the report, and how to read their figures."""


@dataclasses.dataclass(frozen=True)
class Reported:
    """What a run folder holds so far.

    Attributes:
        name: by which this report knows the run.
        folder: its files.
        config: its experiment, as plain values.
        provenance: ``provenance.json``; empty if there is none.
        summary: ``summary.json``; empty if there is none.
        metrics: rows of ``metrics.jsonl``.
        table: the last step of ``interchange.csv``; None if there is none.
        history: all of its steps, where there are several.
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
    """Everything that the template says of one run; draws its figures."""
    summary, name = run.summary, run.name
    origin = {k: v for k, v in run.provenance.items() if k != "arguments"}
    drawn = []
    if run.metrics:
        floors = {name: run.floors["best"]} if "best" in run.floors else {}
        curves = figures.accuracy_over_steps({name: run.metrics}, floors)
        path = save(curves, run.folder.figures, "accuracy")
        drawn.append(
            {
                "kind": "accuracy",
                "floor": bool(floors),
                "svg": inline(path, f"{prefix}-a", "accuracy over steps"),
            }
        )
    training = summary.get("over_training") or {}
    if run.history is not None and training:
        figure = training_figures.attribution_over_steps(
            run.history, training["steps"], training["transitions"]
        )
        path = save(figure, run.folder.figures, "attribution_over_steps")
        svg = inline(path, f"{prefix}-t", "attribution over steps")
        drawn.append({"kind": "training", "svg": svg})
    grids = []
    sites = [] if run.table is None else run.table["site"].astype(str)
    later, _ = tables.look_up_words(look_up_site(sites))
    for corruption, direction in _grids(run.table):
        heat_map = figures.attribution_heat_map(run.table, corruption, direction)
        path = save(heat_map, run.folder.figures, f"attribution_{corruption}_{direction}")
        title = f"{corruption} corrupted, {direction}"
        svg = inline(path, f"{prefix}-{corruption}-{direction}", f"attribution, {title}")
        place = {"corruption": corruption, "direction": direction, "title": title}
        drawn.append({"kind": "heat_map", "svg": svg, "later": later, **place})
        grids.append(place | _grid(tables.attributions(run.table, corruption, direction)))
    evidence = summary.get("evidence") or {}
    return {
        "id": prefix,
        "name": name,
        "about": _about(run),
        "verdict": summary.get("verdict"),
        "sentence": _sentence(summary),
        "reason": summary.get("reason"),
        "missing": _missing(run),
        "accuracy": tables.accuracy(summary) if "accuracy" in summary else None,
        "bars": _bars(summary),
        "documents": summary.get("documents"),
        "split": summary.get("split"),
        "confidence": run.config["evaluation"]["confidence"],
        "slices": read_slices(run.folder.slices),
        "evidence": tables.readings(evidence),
        "gap": evidence.get("gap"),
        "binding": BINDINGS.get(summary.get("binding") or ""),
        "probabilities": _shares(summary.get("probabilities") or {}),
        "distractor": tables.distractor(evidence) if "distractor" in evidence else None,
        "training": _training(training),
        "figures": drawn,
        "grids": grids,
        "analyses": _analyses(run.folder, prefix),
        "csv": str(run.folder.interchange),
        "config": list(rows_of(run.config)),
        "provenance": list(rows_of(origin)),
        "commands": _commands(run),
    }


def _analyses(folder: RunFolder, prefix: str) -> list[dict[str, str]]:
    """The figures of further analyses that were made, with how to read them."""
    return [
        {"name": name, "reading": reading, "svg": inline(path, f"{prefix}-{name}", name)}
        for name, reading in ANALYSES.items()
        if (path := folder.figures / f"{name}.svg").exists()
    ]


def _shares(probabilities: dict[str, float]) -> list[dict[str, Any]]:
    """Classes that occur in the bootstrap, the likeliest first."""
    order = sorted(probabilities.items(), key=lambda item: -item[1])
    return [{"name": n, "share": p, "text": f"{p:.1%}"} for n, p in order if p > 0]


def _training(training: dict[str, Any]) -> dict[str, Any] | None:
    """The verdict at every step, and its transitions."""
    if not training:
        return None
    return {
        "steps": [
            {
                "step": f"{row['step']:,}",
                "accuracy": tables.percent(row["accuracy"]),
                "verdict": row["verdict"],
                "layer": tables.MISSING if row["layer"] is None else str(row["layer"]),
                "probability": tables.percent(row["probabilities"][row["verdict"]]),
            }
            for row in training["steps"]
        ],
        "transitions": [
            {
                "change": f"{row['before']} to {row['after']}",
                "step": f"{row['step']:,}",
                "interval": f"{row['low']:,} to "
                + ("after the last" if row["high"] is None else f"{row['high']:,}"),
            }
            for row in training["transitions"]
        ],
    }


def _about(run: Reported) -> str:
    model, task = run.config["model"], run.config["task"]
    return (
        f"{model['mixer']}, {model['layers']} layers, width {model['width']}; {task['name']}; "
        f"learning rate {run.config['training']['learning_rate']:g}, "
        f"seed {run.config['training']['seed']}"
    )


def _sentence(summary: dict[str, Any]) -> str:
    if "verdict" not in summary:
        return "No verdict on this run yet."
    ending = VERDICTS.get(summary["verdict"], f"has the verdict {summary['verdict']}.")
    return "This model " + ending.format(layer=summary.get("layer"))


def _missing(run: Reported) -> list[dict[str, str]]:
    """What the report cannot show, and the command that makes it."""
    summary, lacks = run.summary, []
    train, intervene = _commands(run)[:2]
    done = max((row["step"] for row in run.metrics), default=0)
    if not summary.get("finished") and "diverged_at" in summary:
        lacks.append((f"Training diverged at step {summary['diverged_at']}.", ""))
    elif not summary.get("finished"):
        lacks.append((f"Training is not finished: step {done:,} of {run.steps:,}.", train))
    if run.table is None:
        lacks.append(("There is no interchange.csv: no intervention was made.", intervene))
    elif "verdict" not in summary:
        lacks.append(("The interventions that were made do not suffice for a verdict.", intervene))
    else:
        steps = {int(step) for step in run.table["step"]}
        if steps - {summary.get("evidence_step")}:
            lacks.append(("The verdict is of another step than interchange.csv.", intervene))
    if summary.get("verdict") and summary.get("evidence_step") != run.steps:
        step = f"{summary.get('evidence_step')} of {run.steps}"
        lacks.append((f"The verdict is of step {step}, before the end of training.", intervene))
    return [{"what": what, "command": command} for what, command in lacks]


def _commands(run: Reported) -> list[str]:
    """Commands that train the run, intervene on it and report it."""
    workdir = shlex.quote(f"--workdir={run.folder.path}")
    arguments = run.provenance.get("arguments", [])
    # A run that Python trained without the program has no command line of its own.
    known = any(argument.lstrip("-").startswith("config") for argument in arguments)
    train = shlex.join(arguments) if known else f"--config=CONFIG {workdir}"
    return [
        f"python -m launch.train {train}",
        f"python -m launch.intervene {workdir}",
        f"python -m launch.report {workdir}",
    ]


def _bars(summary: dict[str, Any]) -> list[dict[str, Any]]:
    """Accuracy and every floor, the highest first."""
    if "accuracy" not in summary:
        return []
    floors = {k: v for k, v in summary.get("floors", {}).items() if k != "best"}
    return [
        {"name": "this model", "share": summary["accuracy"], "text": tables.accuracy(summary)},
        *(
            {"name": FLOORS.get(name, name), "share": share, "text": f"{share:.2%}"}
            for name, share in sorted(floors.items(), key=lambda item: -item[1])
        ),
    ]


def _grids(table: pd.DataFrame | None) -> list[tuple[str, str]]:
    """Corruptions and directions that were measured; what the verdict reads comes first."""
    if table is None:
        return []
    present = table.loc[table["metric"] == "attribution", ["corruption", "direction"]]
    pairs = dict.fromkeys(present.itertuples(index=False, name=None))
    return sorted(pairs, key=lambda pair: (pair[0] != CORRUPTION, pair[0], pair[1] != "restore"))


def _grid(rows: pd.DataFrame) -> dict[str, Any]:
    """Sites x roles of one heat map, with intervals."""
    roles = list(dict.fromkeys(rows["role"]))
    lines = []
    for site, cells in rows.groupby("site", sort=False):
        records = cells.to_dict("records")
        found = [at(records, site, role) for role in roles]
        lines.append((site, [(tables.starred(c), tables.interval(c)) for c in found]))
    return {"roles": roles, "lines": lines}


def rows_of(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested values as rows of a name with dots and a text."""
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from rows_of(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value if isinstance(value, str) else json.dumps(value)
