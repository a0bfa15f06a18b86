"""All that interventions find out about one set of parameters."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from mecheval_jax.array_types import PyTree
from mecheval_jax.evaluation.attribution import Scores, rows
from mecheval_jax.evaluation.behaviour import answer_all, counts_of, summarize
from mecheval_jax.evaluation.controls import measure_controlled, with_controls
from mecheval_jax.evaluation.evidence import (
    Evidence,
    can_be_judged,
    convolution_sites,
    verdict_sites,
)
from mecheval_jax.evaluation.interchange import default_sites, measure
from mecheval_jax.evaluation.mechanism import Verdict, judge_replicates
from mecheval_jax.experiment import Experiment
from mecheval_jax.interventions.addresses import site_paths
from mecheval_jax.models.language_model import ModelConfig
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
    model, evaluation = experiment.model, experiment.evaluation
    chosen = sites_of_evidence(model) if sites is None else sites
    grid = measure(model, params, experiment.task, batch, evaluation, chosen)
    interchange = rows(Scores(grid, evaluation))
    answers = answer_all(params, experiment, batch)
    behaviour = summarize(answers, experiment, batch)
    if not can_be_judged(experiment.task, batch):
        return Findings(interchange, [], behaviour, None, None, [])
    read, controls = measure_controlled(
        model, params, experiment.task, batch, evaluation, experiment.training.seed
    )
    correct, asked = counts_of(answers, batch)
    floor = behaviour["floors"]["best"]
    evidence = Evidence.of_grid(read, verdict_sites(model), correct, asked, floor)
    verdict, replicates = judge_replicates(evidence, evaluation)
    verdict = with_controls(verdict, controls)
    return Findings(interchange, controls, behaviour, evidence, verdict, replicates)
