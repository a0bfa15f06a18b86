"""All that interventions find out about one set of parameters."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import flax.struct
import jax
import numpy as np

from mecheval_jax.array_types import Array, Int, PyTree
from mecheval_jax.errors import choose
from mecheval_jax.evaluation.accuracy import answers_of, counts_of, summarize
from mecheval_jax.evaluation.patching.attribution import Scores, rows
from mecheval_jax.evaluation.patching.grid import (
    chosen_sites,
    compile_grid,
    default_sites,
    grid_of,
    role_positions,
)
from mecheval_jax.evaluation.verdict.controls import Controlled, Material, with_controls
from mecheval_jax.evaluation.verdict.evidence import (
    Evidence,
    can_be_judged,
    convolution_sites,
    verdict_sites,
)
from mecheval_jax.evaluation.verdict.verdict import Verdict, judge_replicates
from mecheval_jax.experiment import Experiment
from mecheval_jax.interventions.addresses import site_paths
from mecheval_jax.models.language_model import ModelConfig, initialize
from mecheval_jax.tasks.base import Batch


@dataclasses.dataclass(frozen=True)
class Findings:
    """What was measured, and what it says.

    Attributes:
        interchange: rows of the grid.
        controls: rows of the controls; empty without a verdict.
        behaviour: accuracy and floors.
        evidence: what the verdict rests on, document by document.
        verdict: None where the task has no keys to corrupt; then so is `evidence`.
        replicates: class and layer of each replicate of the bootstrap.
    """

    interchange: list[dict[str, Any]]
    controls: list[dict[str, Any]]
    behaviour: dict[str, Any]
    evidence: Evidence | None
    verdict: Verdict | None
    replicates: list[str]


def sites_of_evidence(model: ModelConfig) -> tuple[str, ...]:
    """The canonical components of every layer, and the convolution outputs that a verdict reads."""
    wanted = {*default_sites(model), *convolution_sites(model)}
    return tuple(path for path in site_paths(model) if path in wanted)


@dataclasses.dataclass(frozen=True)
class Inquiry:
    """All that is asked of the parameters of one shape: a measurement yet to be made.

    Attributes:
        experiment: shape, task and evaluation.
        sites: of the grid.
        controlled: what a verdict reads; None where the task has no keys to corrupt.
    """

    experiment: Experiment
    sites: tuple[str, ...]
    controlled: Controlled | None

    @classmethod
    def of(
        cls,
        experiment: Experiment,
        batch: Batch,
        sites: Sequence[str] | None = None,
        *,
        verdict: bool = True,
    ) -> tuple["Inquiry", "Sample"]:
        """The measurement on a batch, and the arrays that it takes.

        Args:
            experiment: shape, task and evaluation.
            batch: evaluation documents.
            sites: paths, aliases or ``["all"]``; none if empty; `sites_of_evidence` if None.
            verdict: measure what a verdict reads.

        Raises:
            UserError: an unknown site, role, corruption or direction.
        """
        model, task, evaluation = experiment.model, experiment.task, experiment.evaluation
        chosen = sites_of_evidence(model) if sites is None else sites
        chosen = chosen_sites(chosen, model) if len(chosen) else ()
        positions = None
        if chosen:
            for corruption in evaluation.corruptions:
                choose("corruption", corruption, task.corruptions)
            positions = role_positions(task, batch, evaluation.roles)
        controlled, material = None, None
        if verdict and can_be_judged(task, batch):
            controlled, material = Controlled.of(model, task, batch, evaluation)
        return cls(experiment, chosen, controlled), Sample(batch, positions, material)

    def on_device(self, params: PyTree, untrained: PyTree, sample: "Sample") -> PyTree:
        """All that the device has to do, for `on_host`. Traceable."""
        model, task = self.experiment.model, self.experiment.task
        raw = {"answers": answers_of(model, params, task, sample.batch)}
        if self.sites:
            grid = compile_grid(model, task, self.experiment.evaluation, self.sites)
            raw["grid"] = grid(params, sample.batch, sample.positions)
        if self.controlled is not None:
            raw["controlled"] = self.controlled.on_device(params, untrained, sample.material)
        return raw

    def on_host(self, raw: PyTree, sample: "Sample", experiment: Experiment) -> Findings:
        """What was found, and the verdict.

        Args:
            raw: what `on_device` gave, as arrays of the host.
            sample: on which.
            experiment: of the parameters; it may differ from `experiment` in its training.
        """
        evaluation, batch = experiment.evaluation, sample.batch
        interchange = []
        if self.sites:
            positions = np.asarray(sample.positions)
            grid = grid_of(raw["grid"], evaluation, self.sites, positions)
            interchange = rows(Scores(grid, evaluation))
        answers = raw["answers"]
        behaviour = summarize(answers, experiment, batch)
        if self.controlled is None:
            return Findings(interchange, [], behaviour, None, None, [])
        read, controls = self.controlled.on_host(raw["controlled"], sample.material)
        correct, asked = counts_of(answers, batch)
        floor = behaviour["floors"]["best"]
        sites = verdict_sites(experiment.model)
        evidence = Evidence.of_grid(read, sites, correct, asked, floor)
        verdict, replicates = judge_replicates(evidence, evaluation)
        verdict = with_controls(verdict, controls)
        return Findings(interchange, controls, behaviour, evidence, verdict, replicates)


@flax.struct.dataclass
class Sample:
    """The arrays of an `Inquiry`, or of those of all members of a group at once.

    Attributes:
        batch: evaluation documents.
        positions: of the roles of the grid, of query 0; None without a grid.
        material: of the verdict's measurement.
    """

    batch: Batch
    positions: Int[Array, "*members role document"] | None
    material: Material | None


def find(
    params: PyTree, experiment: Experiment, batch: Batch, sites: Sequence[str] | None = None
) -> Findings:
    """Measure the grid that was asked for; and what a verdict reads with its controls, and judge.

    Args:
        params: of the model.
        experiment: its shape, task and evaluation.
        batch: evaluation documents.
        sites: paths, aliases or ``["all"]``; `sites_of_evidence` if None.

    Raises:
        UserError: an unknown site, role, corruption or direction.
    """
    inquiry, sample = Inquiry.of(experiment, batch, sites)
    seed = jax.random.key(experiment.training.seed)
    untrained = jax.jit(initialize, static_argnums=0)(experiment.model, seed)
    raw = jax.device_get(inquiry.on_device(params, untrained, sample))
    return inquiry.on_host(raw, sample, experiment)
