"""All that interventions find out about a subject: the grid, its controls, and the verdict."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from mecheval_jax.array_types import PyTree
from mecheval_jax.evaluation.accuracy import answers_of, counts_of, summarize
from mecheval_jax.evaluation.patching.cells import Cells
from mecheval_jax.evaluation.patching.grid import GridMeasurement, default_sites, plan_grid
from mecheval_jax.evaluation.subject import Subject, measure
from mecheval_jax.evaluation.verdict.controls import (
    ControlsArrays,
    ControlsMeasurement,
    plan_controls,
    with_controls,
)
from mecheval_jax.evaluation.verdict.evidence import (
    Evidence,
    can_be_judged,
    convolution_sites,
    verdict_sites,
)
from mecheval_jax.evaluation.verdict.verdict import Verdict, judge_replicates
from mecheval_jax.interventions.addresses import site_paths
from mecheval_jax.models.language_model import ModelConfig
from mecheval_jax.tasks.base import Batch, Task


@dataclasses.dataclass(frozen=True)
class Measured:
    """What was measured, and what it says.

    Attributes:
        interchange: Rows of the grid.
        controls: Rows of the controls; empty without a verdict.
        accuracy: Accuracy and floors, as of `accuracy.summarize`.
        evidence: Evidence that the verdict rests on, document by document.
        verdict: Verdict; None where the task has no keys to corrupt; then so is `evidence`.
        replicates: Class and layer of each replicate of the bootstrap.
    """

    interchange: list[dict[str, Any]]
    controls: list[dict[str, Any]]
    accuracy: dict[str, Any]
    evidence: Evidence | None
    verdict: Verdict | None
    replicates: list[str]


def sites_of_evidence(model: ModelConfig) -> tuple[str, ...]:
    """The canonical components of every layer, and the convolution outputs that a verdict reads."""
    wanted = {*default_sites(model), *convolution_sites(model)}
    return tuple(path for path in site_paths(model) if path in wanted)


def measure_verdict(subject: Subject, sites: Sequence[str] | None = None) -> Measured:
    """Measure the grid that was asked for; and what a verdict reads with its controls, and judge.

    Args:
        subject: Subject that is measured.
        sites: Paths, aliases or ``["all"]``; `sites_of_evidence` if None.

    Raises:
        UserError: If there is no such site, role, corruption or direction.
    """
    return measure(subject, plan_verdict(subject, sites))


def plan_verdict(
    subject: Subject, sites: Sequence[str] | None = None, *, verdict: bool = True
) -> tuple["VerdictMeasurement", "Batch | ControlsArrays"]:
    """All that is asked of a subject, as a measurement yet to be made.

    Args:
        subject: Subject that is measured.
        sites: Paths, aliases or ``["all"]``; none if empty; `sites_of_evidence` if None.
        verdict: Whether to measure what a verdict reads, where the task has keys to corrupt.

    Raises:
        UserError: If there is no such site, role, corruption or direction.
    """
    sites = sites_of_evidence(subject.config) if sites is None else sites
    asked = plan_grid(subject, sites)[0] if len(sites) else None
    read, arrays = None, subject.batch
    if verdict and can_be_judged(subject.task, subject.batch):
        read, arrays = plan_controls(subject)
    return VerdictMeasurement(subject.config, subject.task, asked, read), arrays


@dataclasses.dataclass(frozen=True)
class VerdictMeasurement:
    """All that is asked of the parameters of one shape; see `evaluation.subject.Measurement`.

    Its arrays are those of the controls, or the evaluation documents alone without them.

    Attributes:
        model: Shape of the model.
        task: Task of the documents.
        grid: Grid that was asked for, if any.
        controls: Measurement that a verdict reads; None where the task has no keys to corrupt.
    """

    model: ModelConfig
    task: Task
    grid: GridMeasurement | None
    controls: ControlsMeasurement | None

    def on_device(self, params: PyTree, arrays: Batch | ControlsArrays) -> PyTree:
        """All that the device has to do, for `on_host`. Traceable."""
        raw, batch = {}, arrays if isinstance(arrays, Batch) else arrays.batch
        if self.grid is not None:
            raw["grid"] = self.grid.on_device(params, batch)
        if self.controls is not None:
            raw["controls"] = self.controls.on_device(params, arrays)
        return raw | {"answers": answers_of(self.model, params, self.task, batch)}

    def on_host(self, raw: PyTree, subject: Subject) -> Measured:
        """What was found, and the verdict."""
        rows = []
        if self.grid is not None:
            rows = Cells(self.grid.on_host(raw["grid"], subject)).rows()
        accuracy = summarize(raw["answers"], subject)
        if self.controls is None:
            return Measured(rows, [], accuracy, None, None, [])
        read, controls = self.controls.on_host(raw["controls"], subject)
        correct, asked = counts_of(raw["answers"], subject.batch)
        floor = accuracy["floors"]["best"]
        evidence = Evidence.of_grid(read, verdict_sites(self.model), correct, asked, floor)
        verdict, replicates = judge_replicates(evidence, subject.evaluation)
        verdict = with_controls(verdict, controls)
        return Measured(rows, controls, accuracy, evidence, verdict, replicates)
