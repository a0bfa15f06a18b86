"""The ladder: known circuits of rising difficulty, on which the instrument is graded.

    edges        planted models: does each method rank the known edges first?
    subspaces    planted inductions: does the search find the subspace that was planted?
    trained      models trained to a mechanism: is the blind verdict right?
    collection   the same of a collection of models that were trained before

A rung is a list of units. The rows of a finished unit are kept in ``parts/RUNG/UNIT.json``, so that
the same request goes on where it was broken off. The tables are ``RUNG.csv`` and
``confusion.csv``; trained models that have reached their mechanism are kept in ``models/`` and
together in ``models.safetensors``.
"""

import dataclasses
import functools
import hashlib
import pathlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
import pandas as pd
import scipy.linalg

from mecheval_jax.checksums import sha256_of
from mecheval_jax.console import say
from mecheval_jax.errors import UserError, choose
from mecheval_jax.evaluation.config import (
    EDGE_METHODS,
    CircuitsConfig,
    EvaluationConfig,
    SubspacesConfig,
)
from mecheval_jax.evaluation.patching.circuit_metrics import auroc, random_auroc, recovered
from mecheval_jax.evaluation.patching.circuits import RANDOM
from mecheval_jax.evaluation.patching.edge_scores import EXACT, score_edges
from mecheval_jax.evaluation.question import corruption_key
from mecheval_jax.evaluation.representations.counterfactuals import counterfactual
from mecheval_jax.evaluation.representations.das import align
from mecheval_jax.evaluation.rows import SHARE, SIZE, describe, describe_share
from mecheval_jax.evaluation.subject import Subject
from mecheval_jax.fields import LARGEST, MOST_SEEDS, check_once
from mecheval_jax.files import damaged, read_json, write_json, write_table
from mecheval_jax.ground_truth import planted
from mecheval_jax.ground_truth.collection import Trained, load_collection, save_collection
from mecheval_jax.ground_truth.judging import UNKNOWN, confusion_rows, judge_blind
from mecheval_jax.ground_truth.known_edges import KNOWN, planted_subspace
from mecheval_jax.ground_truth.models import SETTINGS, TASK, TRAINED, shape_of
from mecheval_jax.ground_truth.training import Settings, train_to
from mecheval_jax.models.language_model import LanguageModel
from mecheval_jax.reporting.figures import saving
from mecheval_jax.reporting.figures.ground_truth_figures import ladder_figure
from mecheval_jax.site_path import SitePath
from mecheval_jax.store.folder import Folder

EDGES, SUBSPACES, TRAINING, COLLECTION = RUNGS = ("edges", "subspaces", "trained", "collection")
CONFUSION = "confusion"

PARTS = "parts"
"""Folder of the rows of finished units."""

OWN = (PARTS, "models", "models.json", "models.safetensors")
"""Names by which a folder of results is known."""

_JUDGED = ("mixer", "trained_to", "seed", "verdict", "accuracy", "probability", "grade")
COLUMNS = {
    EDGES: ("kind", "seed", "edges", "method", "metric", "value"),
    SUBSPACES: ("kind", "seed", "metric", "value"),
    TRAINING: _JUDGED,
    COLLECTION: _JUDGED,
}
"""What every row of a rung has, of the columns that tables and figures read."""

EVALUATION = EvaluationConfig(documents=32, corruptions=("key",), resamples=500)
"""Evaluation of planted models, of which few documents suffice: they answer without noise."""

Rows = list[dict[str, Any]]

Unit = tuple[str, str, Callable[[], Rows]]
"""A rung, the name of a unit of it, and what measures its rows."""


@dataclasses.dataclass(frozen=True)
class LadderRequest:
    """What is asked of the ladder.

    Attributes:
        workdir: Folder of the results.
        rungs: Some of `RUNGS`, in the order in which they are climbed.
        seeds: Number of models of each kind.
        steps: Steps of training; 0 for those of each architecture.
        collection: Safetensors file of a collection, for the rung of that name.
    """

    workdir: pathlib.Path
    rungs: tuple[str, ...] = (EDGES, SUBSPACES, TRAINING)
    seeds: int = 2
    steps: int = 0
    collection: pathlib.Path | None = None

    def __post_init__(self):
        for rung in self.rungs:
            choose("--rungs", rung, RUNGS)
        check_once("--rungs", self.rungs)
        if not self.rungs:
            raise UserError("--rungs is empty: name at least one")
        if not 1 <= self.seeds <= MOST_SEEDS or not 0 <= self.steps <= LARGEST:
            raise UserError(
                f"--seeds={self.seeds} --steps={self.steps}: 1 to {MOST_SEEDS:,} seeds, and 0 to "
                f"{LARGEST:,} steps"
            )
        for flag, given, rung in (
            ("--steps", self.steps, TRAINING),
            ("--collection", self.collection, COLLECTION),
        ):
            if given and rung not in self.rungs:
                raise UserError(f"{flag}={given} is for --rungs={rung}, which is not asked for")
        if COLLECTION in self.rungs and self.collection is None:
            raise UserError("--rungs=collection needs --collection=FILE.safetensors")


def climb(request: LadderRequest) -> dict[str, pd.DataFrame]:
    """Carry out a request; the tables by their names, which are also files of the workdir.

    Raises:
        UserError: If the workdir cannot be made, holds other files, or is climbed in by another
            program, or a file of it or of the collection is damaged.
    """
    # A collection is read first: a folder is made of what can be done alone.
    planned: list[Unit] = [
        (rung, name, unit) for rung in request.rungs for name, unit in units_of(rung, request)
    ]
    folder = Folder(request.workdir)
    folder.check_own("results of known circuits", OWN)
    with folder.lock("ladder"):
        return _climb(request, planned)


def _climb(request: LadderRequest, planned: Sequence[Unit]) -> dict[str, pd.DataFrame]:
    """Measure what the folder does not have yet, and write tables and figure."""
    known = _known_rows(request, planned)
    found: dict[str, Rows] = {rung: [] for rung in request.rungs}
    for number, (rung, name, unit) in enumerate(planned, start=1):
        rows = known.get((rung, name))
        if rows is None:
            say(f"{number} of {len(planned)}, {rung}: {name}")
            rows = unit()
            path = _part_path(request, rung, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, {"rows": rows})
        found[rung] += rows
    tables = {rung: pd.DataFrame(rows) for rung, rows in found.items()}
    # A collection may have the very models that were trained here.
    judged = {
        (row["mixer"], row["trained_to"], row["seed"], row.get("weights", rung)): row
        for rung in (TRAINING, COLLECTION)
        for row in found.get(rung, [])
    }
    if judged:
        tables[CONFUSION] = pd.DataFrame(confusion_rows(list(judged.values())))
    for name in (*RUNGS, CONFUSION):
        path = request.workdir / f"{name}.csv"
        if name in tables:
            write_table(path, tables[name])
        else:  # of an earlier request, whose parts stay
            path.unlink(missing_ok=True)
    figure = ladder_figure(tables.get(EDGES), tables.get(CONFUSION))
    saving.save(figure, request.workdir, "ground_truth")
    if TRAINING in request.rungs:
        parts = (_models_path(request, name) for rung, name, _ in planned if rung == TRAINING)
        models = [model for part in parts if part.exists() for model in load_collection(part)]
        kept = request.workdir / "models.safetensors"
        if models:
            save_collection(kept, models)
        else:  # those of an earlier request are not these
            kept.unlink(missing_ok=True)
            kept.with_suffix(".json").unlink(missing_ok=True)
    return tables


def _known_rows(request: LadderRequest, planned: Iterable[Unit]) -> dict[tuple[str, str], Rows]:
    """The rows of all units that were measured before, by rung and name; nothing is measured.

    Raises:
        UserError: If a file of rows is damaged, or one of models is missing or damaged.
    """
    found = {}
    for rung, name, _ in planned:
        path = _part_path(request, rung, name)
        if not path.exists():
            continue
        found[rung, name] = rows = read_part(path, rung)
        if rung == TRAINING and _with_mechanism(rows):
            models = _models_path(request, name)
            if not models.exists():
                raise UserError(
                    f"{models} is missing, though {path} has what was found in it: put it back, or "
                    "remove that file, and its models are trained again"
                )
            load_collection(models)  # is read again at the end, which may be hours later
    return found


def read_part(path: pathlib.Path, rung: str) -> Rows:
    """The rows of a unit that was measured before.

    Raises:
        UserError: If the file is damaged.
    """
    again = "remove it, and it is measured again"
    rows = read_json(path, {"rows": [dict]}, remedy=again)["rows"]
    if not rows or any(name not in row for row in rows for name in COLUMNS[rung]):
        raise damaged(path, "it has no rows, or rows without some field", again)
    return rows


def units_of(rung: str, request: LadderRequest) -> Iterator[tuple[str, Callable[[], Rows]]]:
    """The units of a rung: a name, and what measures its rows."""
    seeds = range(request.seeds)
    if rung == EDGES:
        for kind in KNOWN:
            for seed in seeds:
                yield f"{kind}, seed {seed}", functools.partial(grade_edges, kind, seed)
    if rung == SUBSPACES:
        for seed in seeds:
            yield f"induction, seed {seed}", functools.partial(grade_subspace, seed)
    if rung == TRAINING:
        for mixer, mechanism in TRAINED:
            name = _training_name(request, mixer, mechanism)
            yield name, functools.partial(train_and_judge, request, mixer, mechanism)
    if rung == COLLECTION and request.collection is not None:
        models = load_collection(request.collection)
        files = (request.collection, request.collection.with_suffix(".json"))
        content = sha256_of(files)[:8]  # another collection may have models of the same names
        for model in models:
            yield f"{model.name}, {content}", lambda model=model: [judge_blind(model)]


def _training_name(request: LadderRequest, mixer: str, mechanism: str) -> str:
    return f"{mixer} to {mechanism}, {request.seeds} seeds, {request.steps} steps"


def _file_name(unit: str) -> str:
    """Name of the file of a unit, without its ending.

    A name with other characters than those of our own units has its hash behind it, since names of
    the user's may differ in these alone.
    """
    plain = re.sub(r"[^0-9a-z]+", "_", unit)
    if re.fullmatch(r"[0-9a-z_, ]+", unit):
        return plain
    return f"{plain}_{hashlib.sha256(unit.encode()).hexdigest()[:8]}"


def _planted_subject(model: planted.Planted, seed: int, documents: int) -> Subject:
    config, params, task = model
    batch = task.sample(jax.random.key(1000 + seed), documents, "test")
    return Subject(LanguageModel(config), params, task, batch, EVALUATION)


def grade_edges(kind: str, seed: int) -> Rows:
    """How every method ranks the known edges of a model, and how much of their effects it gives.

    The AUROC of each method, and of random orders; and the least share of an effect (`recovered`).
    """
    known, rows, confidence = KNOWN[kind], [], EVALUATION.confidence
    subject = _planted_subject(known.build(seed), seed, EVALUATION.documents)
    edges, options = known.edges(subject.config), CircuitsConfig(measure="logit")
    every = {method: score_edges(subject, method, options) for method in EDGE_METHODS}
    exact = every[EXACT]
    named = {"kind": kind, "seed": seed, "edges": len(exact.graph.edges)}
    for method, scores in every.items():
        for metric, found, within in (
            ("auroc", auroc(scores, edges, "key"), SHARE),
            ("recovered", recovered(scores, exact, edges, "key"), SIZE),
        ):
            described = describe(found, confidence, tested=False, within=within)
            rows.append({**named, "method": method, "metric": metric, **described})
    drawn = random_auroc(exact, edges, confidence)
    return [*rows, {**named, "method": RANDOM, "metric": "auroc", **drawn}]


def grade_subspace(seed: int) -> Rows:
    """Angles between the planted and the found subspace of the key, and its exchange accuracy."""
    there = planted_subspace(seed)
    subject = _planted_subject(planted.induction(seed), seed, 512)
    make = jax.jit(counterfactual, static_argnums=(0, 2))
    pairs = make(subject.task, subject.batch, "key", corruption_key(EVALUATION.seed))
    options = SubspacesConfig(documents=512, dimensions=there.shape[1])
    site = SitePath(1, "block_input").path
    found = align(subject, options, pairs, site, "value")
    angles = np.rad2deg(scipy.linalg.subspace_angles(there, found.basis))
    right = found.correct["learned"]
    accuracy = describe_share(float(right.mean()), len(right), EVALUATION.confidence)
    named = {"kind": "induction", "seed": seed, "site": site, "dimensions": there.shape[1]}
    shared = float(np.mean(np.cos(np.deg2rad(angles)) ** 2))
    return [
        named | {"metric": "least_angle", "value": float(angles.min())},
        named | {"metric": "greatest_angle", "value": float(angles.max())},
        named | {"metric": "shared", "value": shared},
        named | {"metric": "interchange_accuracy", **accuracy},
    ]


def train_and_judge(request: LadderRequest, mixer: str, mechanism: str) -> Rows:
    """Train models of one architecture to a mechanism, keep them, and judge each blind."""
    config = shape_of(mixer, mechanism)
    settings = SETTINGS.get((mixer, mechanism), Settings())
    if request.steps:
        settings = dataclasses.replace(settings, steps=request.steps)

    def tell(step: int, losses: dict[str, Any]) -> None:
        told = ", ".join(f"{name} {np.mean(loss):.3f}" for name, loss in losses.items())
        say(f"  step {step:,} of {settings.steps:,}: loss of {told}")

    seeds = tuple(range(request.seeds))
    params = train_to(config, TASK, mechanism, seeds, settings, tell)
    models = [
        Trained(mechanism, seed, config, own, TASK) for seed, own in zip(seeds, params, strict=True)
    ]
    rows = [judge_blind(model) for model in models]
    # Others have no mechanism that is known, for which other tools could look.
    kept = [model for model, row in zip(models, rows, strict=True) if _with_mechanism([row])]
    if kept:
        path = _models_path(request, _training_name(request, mixer, mechanism))
        path.parent.mkdir(exist_ok=True)
        save_collection(path, kept)
    return rows


def _with_mechanism(rows: Rows) -> bool:
    """Whether some model has a mechanism that is known, and was kept."""
    return any(row["grade"] not in UNKNOWN for row in rows)


def _part_path(request: LadderRequest, rung: str, unit: str) -> pathlib.Path:
    """File of the rows of a unit."""
    return request.workdir / PARTS / rung / f"{_file_name(unit)}.json"


def _models_path(request: LadderRequest, unit: str) -> pathlib.Path:
    """File of the models of a unit of training."""
    return request.workdir / "models" / f"{_file_name(unit)}.safetensors"
