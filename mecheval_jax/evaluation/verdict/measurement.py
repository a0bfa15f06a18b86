"""The whole measurement of a subject by interventions: grid, controls and verdict."""

import dataclasses
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from mecheval_jax.array_types import PyTree
from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.accuracy import answers_of, floors_of, summarize
from mecheval_jax.evaluation.patching.cells import Cells
from mecheval_jax.evaluation.patching.grid import GridMeasurement, default_sites, plan_grid
from mecheval_jax.evaluation.subject import Subject, measure
from mecheval_jax.evaluation.verdict.controls import (
    ControlsArrays,
    ControlsMeasurement,
    plan_controls,
    with_controls,
)
from mecheval_jax.evaluation.verdict.evidence import Evidence
from mecheval_jax.evaluation.verdict.places import LOCAL, places_of
from mecheval_jax.evaluation.verdict.search import search_positions
from mecheval_jax.evaluation.verdict.verdict import Verdict, judge_replicates
from mecheval_jax.interventions.addresses import site_paths
from mecheval_jax.models.language_model import ModelConfig
from mecheval_jax.site_path import SitePath
from mecheval_jax.tasks.base import Batch, Task
from mecheval_jax.tasks.geometry import check_geometry


@dataclasses.dataclass(frozen=True)
class Judged:
    """Results of a measurement, and the verdict.

    Attributes:
        interchange: Rows of the grid.
        controls: Rows of the controls; empty without a verdict.
        accuracy: Accuracy and floors, from `accuracy.summarize`.
        evidence: Evidence of the verdict, document by document; None without a verdict.
        verdict: Verdict; None if documents have no pair to look for.
        replicates: Class and layer of each replicate of the bootstrap.
    """

    interchange: list[dict[str, Any]]
    controls: list[dict[str, Any]]
    accuracy: dict[str, Any]
    evidence: Evidence | None
    verdict: Verdict | None
    replicates: list[str]


def sites_of_evidence(model: ModelConfig, further: Collection[str] = ()) -> tuple[str, ...]:
    """The canonical components of every layer, and the local operations that a verdict reads.

    Args:
        model: The model.
        further: Names of sites that are wanted, too, in every module that has them.
    """
    local = (place.sites for place in places_of(model, model.max_length) if place.kind == LOCAL)
    wanted = {*default_sites(model)}.union(*local)
    return tuple(
        path for path in site_paths(model) if path in wanted or SitePath.parse(path).name in further
    )


def measure_verdict(subject: Subject, sites: Sequence[str] | None = None) -> Judged:
    """Measure the requested grid, and the evidence of a verdict with its controls; and judge.

    If the verdict abstains because something else carries the answer, a search over positions says
    where.

    Args:
        subject: Subject that is measured.
        sites: Paths, aliases or ``["all"]``; `sites_of_evidence` if None.

    Raises:
        UserError: If a site, role, corruption or direction does not exist.
    """
    found = measure(subject, plan_verdict(subject, sites))
    if found.verdict is None or found.verdict.elsewhere is None:
        return found
    return dataclasses.replace(found, verdict=search_positions(subject, found.verdict))


def plan_verdict(
    subject: Subject, sites: Sequence[str] | None = None, *, verdict: bool = True
) -> tuple["VerdictMeasurement", "Batch | ControlsArrays"]:
    """The plan of all that is requested of a subject.

    Args:
        subject: Subject that is measured.
        sites: Paths, aliases or ``["all"]``; none if empty; `sites_of_evidence` if None.
        verdict: Whether to measure the evidence of a verdict, if documents have a pair to look for.

    Raises:
        UserError: If a site, role, corruption or direction does not exist.
    """
    sites = sites_of_evidence(subject.config) if sites is None else sites
    asked = plan_grid(subject, sites)[0] if len(sites) else None
    read, arrays = None, subject.batch
    if verdict and why_not_judged(subject.task, subject.batch) is None:
        read, arrays = plan_controls(subject)
    return VerdictMeasurement(subject.config, subject.task, asked, read), arrays


def why_not_judged(task: Task, batch: Batch) -> str | None:
    """The reason why documents cannot be judged; None if they can."""
    try:
        check_geometry(task, batch)
    except UserError as error:
        return str(error)
    return None


@dataclasses.dataclass(frozen=True)
class VerdictMeasurement:
    """The plan of all measurements of one shape; see `evaluation.subject.Measurement`.

    Its arrays are those of the controls or, without a verdict, the evaluation documents.

    Attributes:
        model: Config of the model.
        task: Task of the documents.
        grid: Requested grid, if any.
        controls: Measurement of a verdict and its controls; None if documents have no pair.
    """

    model: ModelConfig
    task: Task
    grid: GridMeasurement | None
    controls: ControlsMeasurement | None

    def on_device(self, params: PyTree, arrays: Batch | ControlsArrays) -> PyTree:
        """All computation on the device, for `on_host`. Traceable."""
        raw, batch = {}, arrays if isinstance(arrays, Batch) else arrays.batch
        if self.grid is not None:
            raw["grid"] = self.grid.on_device(params, batch)
        if self.controls is not None:
            raw["controls"] = self.controls.on_device(params, arrays)
        return raw | {"answers": answers_of(self.model, params, self.task, batch)}

    def on_host(self, raw: PyTree, subject: Subject) -> Judged:
        """The results, and the verdict."""
        rows = []
        if self.grid is not None:
            rows = Cells(self.grid.on_host(raw["grid"], subject)).rows()
        accuracy = summarize(raw["answers"], subject)
        if self.controls is None:
            return Judged(rows, [], accuracy, None, None, [])
        # Interventions ask query 0, so the verdict is about query 0 as well.
        asked = np.asarray(subject.batch.weights)[:, 0] > 0
        right = (np.asarray(raw["answers"].correct)[:, 0] > 0) & asked
        counts, floors = (int(right.sum()), int(asked.sum())), accuracy["floors"]
        if subject.batch.weights.shape[1] > 1:
            of_all = subject.task, subject.data_seed, subject.evaluation.split, len(asked)
            floors = floors_of(*of_all, first=True)
        own, controls = self.controls.on_host(raw["controls"], subject, counts, floors["best"])
        verdict, replicates = judge_replicates(own, subject.evaluation)
        return Judged(rows, controls, accuracy, own, with_controls(verdict, controls), replicates)
