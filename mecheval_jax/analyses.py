"""Evidence beyond the verdict's: each analysis of a trained run is a table and a figure.

gradients  attribution of every site estimated by gradient, beside what was measured
circuits   which edges between the parts of the model carry the answer, and how few suffice
probes     where key, value and pair can be read off linearly
subspaces  in which subspace of the residual stream they are carried
attention  the matrices by which each mixer reads its values
lens       the answer as the last norm and head would read it after each layer
"""

import dataclasses
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from mecheval_jax import runs
from mecheval_jax.array_types import PyTree
from mecheval_jax.console import say
from mecheval_jax.errors import UserError, choose
from mecheval_jax.evaluation.accuracy import documents_of
from mecheval_jax.evaluation.config import EvaluationConfig
from mecheval_jax.evaluation.patching import attribution_patching as gradients
from mecheval_jax.evaluation.patching import circuits, effects
from mecheval_jax.evaluation.patching.grid import chosen_sites, measure
from mecheval_jax.evaluation.representations.counterfactuals import variables_of
from mecheval_jax.evaluation.representations.das import SubspaceConfig, subspace_rows
from mecheval_jax.evaluation.representations.effective_attention import (
    effective_attention,
    reduce_heads,
)
from mecheval_jax.evaluation.representations.logit_lens import lens_rows
from mecheval_jax.evaluation.representations.probes import ProbeConfig, probe_rows
from mecheval_jax.experiment import Experiment
from mecheval_jax.files import write_table
from mecheval_jax.interventions import capture
from mecheval_jax.models.language_model import LanguageModel
from mecheval_jax.reporting.figures import evidence_figures, gradient_figures
from mecheval_jax.reporting.figures.drawing import save
from mecheval_jax.site_path import SitePath
from mecheval_jax.store.tables import long_table
from mecheval_jax.tasks.base import Batch
from mecheval_jax.training.data import evaluation_batch

PROBED_DOCUMENTS = 2048
"""Documents to which probes and subspaces are fitted: the evaluation's alone would be too few."""


@dataclasses.dataclass(frozen=True)
class Subject:
    """What is analysed.

    Attributes:
        experiment: the run's, with the evaluation that was asked for.
        params: its parameters.
        batch: evaluation documents.
        sites: at which gradients and probes look; the canonical components if None.
    """

    experiment: Experiment
    params: PyTree
    batch: Batch
    sites: tuple[str, ...] | None = None

    @property
    def model(self) -> LanguageModel:
        """The model that `params` belong to."""
        return LanguageModel(self.experiment.model)

    @property
    def evaluation(self) -> EvaluationConfig:
        """Roles, corruptions, seed and intervals."""
        return self.experiment.evaluation

    def more_documents(self) -> Batch:
        """At least `PROBED_DOCUMENTS` documents of the same split, or all that there are.

        None twice: one that is fitted must not be held out as well.
        """
        task, split = self.experiment.task, self.evaluation.split
        count = max(PROBED_DOCUMENTS, self.evaluation.documents)
        count = min(count, task.sizes().get(split, count))
        return evaluation_batch(task, self.experiment.training.data_seed, count, split)


Found = tuple[Mapping[str, Iterable[Mapping[str, Any]]], Callable[[Mapping[str, Any]], Any]]
"""Rows by the name of their table, and what draws the figure from the tables."""


def _gradients(subject: Subject) -> Found:
    subject.experiment.check_interventions()
    experiment, evaluation = subject.experiment, subject.evaluation
    common = (experiment.model, subject.params, experiment.task, subject.batch, evaluation)
    exact = effects.effects_of(measure(*common, subject.sites))
    estimates = [
        gradients.attribute(*common, exact.sites, method=method) for method in gradients.METHODS
    ]
    rows = [row for found in (exact, *estimates) for row in effects.rows(found, evaluation)]
    agreement = list(effects.agreement(exact, estimates, evaluation))
    place = (evaluation.corruptions[0], evaluation.directions[0])
    return {
        "gradients": rows,
        "gradients_agreement": agreement,
    }, lambda tables: gradient_figures.exact_against_gradient(
        tables["gradients"], tables["gradients_agreement"], *place
    )


def _circuits(subject: Subject) -> Found:
    subject.experiment.check_interventions()
    experiment, evaluation = subject.experiment, subject.evaluation
    common = (experiment.model, subject.params, experiment.task, subject.batch, evaluation)
    edges, faithful = [], []
    for method in circuits.METHODS:
        scores = circuits.score_edges(*common, method=method)
        edges += circuits.edge_rows(scores, evaluation)
        measured = circuits.measure_faithfulness(*common, scores)
        faithful += circuits.faithfulness_rows(measured, evaluation)
    return {
        "edges": edges,
        "circuits": faithful,
    }, lambda tables: gradient_figures.faithfulness_curves(
        tables["circuits"], evaluation.corruptions[0]
    )


def _probes(subject: Subject) -> Found:
    batch, evaluation = subject.more_documents(), subject.evaluation
    both = {"key", "value"} <= set(batch.roles)
    targets = ("key", "value", "pair") if both else ("value",)
    config = ProbeConfig(targets, confidence=evaluation.confidence, seed=evaluation.seed)
    rows = list(
        probe_rows(
            subject.model, subject.params, batch, evaluation.roles, config, sites=subject.sites
        )
    )
    return {"probes": rows}, lambda tables: evidence_figures.probe_heat_map(
        tables["probes"], "value"
    )


def _subspaces(subject: Subject) -> Found:
    task, layers = subject.experiment.task, subject.experiment.model.layers
    sites = [SitePath(layer, "block_input").path for layer in range(1, layers)]
    sites = sites or [SitePath(0, "mixer_input").path]
    roles = [role for role in ("key", "value", "query") if role in subject.evaluation.roles]
    rows = subspace_rows(
        subject.model,
        subject.params,
        task,
        subject.more_documents(),
        sites,
        roles,
        variables_of(task),
        SubspaceConfig(confidence=subject.evaluation.confidence, seed=subject.evaluation.seed),
    )
    return {"subspaces": list(rows)}, lambda tables: evidence_figures.subspace_heat_map(
        tables["subspaces"]
    )


def _attention(subject: Subject) -> Found:
    model, batch = subject.experiment.model, subject.batch
    length = int(batch.lengths[0])
    tokens = batch.tokens[:1, :length]
    names = [subject.experiment.task.name_of(int(token)) for token in tokens[0]]

    @jax.jit
    def images(params):
        captured = capture(LanguageModel(model), params, tokens)
        found = [
            reduce_heads(effective_attention(model, params, captured, layer))
            for layer in range(model.layers)
        ]
        return [matrices[0] for matrices in found]

    matrices = {
        f"layer {layer}" + (f", head {head}" if len(heads) > 1 else ""): matrix
        for layer, heads in enumerate(jax.device_get(images(subject.params)))
        for head, matrix in enumerate(heads)
    }
    rows = [
        {
            "matrix": title,
            "destination": int(i),
            "source": int(j),
            "destination_token": names[i],
            "source_token": names[j],
            "metric": "influence",
            "value": float(matrix[i, j]),
        }
        for title, matrix in matrices.items()
        for i, j in zip(*np.tril_indices(length), strict=True)
    ]
    return {"attention": rows}, lambda _: evidence_figures.attention_images(matrices, names)


def _lens(subject: Subject) -> Found:
    rows = list(lens_rows(subject.model, subject.params, subject.batch, subject.evaluation))
    name = subject.experiment.model.mixer
    return {"lens": rows}, lambda tables: evidence_figures.lens_curves({name: tables["lens"]})


ANALYSES: dict[str, Callable[[Subject], Found]] = {
    "gradients": _gradients,
    "circuits": _circuits,
    "probes": _probes,
    "subspaces": _subspaces,
    "attention": _attention,
    "lens": _lens,
}


def analyze(
    workdir: str | os.PathLike,
    names: Sequence[str] | None = None,
    sites: Sequence[str] | None = None,
    **changes: object,
) -> dict[str, Any]:
    """Analyse a run: a table ``analyses/NAME.csv`` and a figure for each analysis.

    Args:
        workdir: folder of a trained run.
        names: of `ANALYSES`; all if None, then those that the architecture or the task cannot
            have are passed over with a message.
        sites: at which ``gradients`` and ``probes`` look: paths or aliases; ``["all"]`` for every
            site of the model; the canonical components of every layer if None.
        **changes: fields of `EvaluationConfig` that differ from the run's config.

    Returns:
        The tables (pandas DataFrames) by name.

    Raises:
        UserError: an unknown analysis or site, or none of them, nothing trained there, or an
            analysis that was asked for by name and cannot be.
    """
    if names is not None and not names:
        raise UserError(f"no analysis is named: valid are {', '.join(ANALYSES)}")
    chosen = [choose("analysis", name, ANALYSES) for name in (names or ANALYSES)]
    run = runs.load(workdir)
    evaluation = dataclasses.replace(run.experiment.evaluation, **changes)
    experiment = dataclasses.replace(run.experiment, evaluation=evaluation)
    places = None if sites is None else chosen_sites(sites, experiment.model)
    subject = Subject(experiment, run.params, documents_of(experiment), places)
    run.folder.analyses.mkdir(exist_ok=True)
    constants = {"run": run.folder.name, "mixer": experiment.model.mixer, "step": run.step}
    written: dict[str, Any] = {}
    for name in chosen:
        say(f"{run.folder.path}: {name}")
        try:
            rows, draw = ANALYSES[name](subject)
        except UserError as error:
            if names:
                raise
            say(f"{run.folder.path}: no {name}: {error}")
            continue
        tables = {title: long_table(found, constants) for title, found in rows.items()}
        for title, table in tables.items():
            write_table(run.folder.analyses / f"{title}.csv", table)
        save(draw(tables), run.folder.figures, name)
        written |= tables
    return written
