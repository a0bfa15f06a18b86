"""Further analyses of a trained model, beyond the evidence of the verdict.

gradients       attribution of every site estimated by gradients, beside the measured one
circuits        edges between the parts of the model that carry the answer, and how few suffice
probes          sites and roles at which key, value and pair can be read off linearly
subspaces       subspaces of the residual stream that carry them
attention       matrices by which each mixer reads its values
lens            answer that the final norm and head would give after each layer
capacity        recall against the number of pairs, and where it ends
generalization  accuracy on other lengths and numbers of pairs than in training
editing         one association in a state read, edited and erased, and the effect on others
overwriting     whether a pair whose key was bound again is erased or outweighed
components      layers and heads that bind, and those that read

The figure of each is drawn from its tables alone (`reporting.figures.analyses`).
"""

import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.config import AnalysesConfig, count_held_out
from mecheval_jax.evaluation.memory.capacity import capacity_rows, tasks_of_capacity
from mecheval_jax.evaluation.memory.components import component_rows
from mecheval_jax.evaluation.memory.editing import check_editing, editing_rows
from mecheval_jax.evaluation.memory.generalization import generalization_rows, settings_of
from mecheval_jax.evaluation.memory.overwriting import check_overwriting, overwriting_rows
from mecheval_jax.evaluation.patching import (
    attribution_patching,
    circuit_metrics,
    circuits,
    edge_scores,
)
from mecheval_jax.evaluation.patching.agreement import agreement_rows, attribution_rows
from mecheval_jax.evaluation.patching.effects import effects
from mecheval_jax.evaluation.patching.graph import graph_of
from mecheval_jax.evaluation.patching.grid import grid
from mecheval_jax.evaluation.representations.counterfactuals import variables_of
from mecheval_jax.evaluation.representations.das import check_dimensions, subspace_rows
from mecheval_jax.evaluation.representations.effective_attention import attention_rows, check_linear
from mecheval_jax.evaluation.representations.logit_lens import lens_rows
from mecheval_jax.evaluation.representations.probes import probe_rows, targets_of
from mecheval_jax.evaluation.subject import Subject
from mecheval_jax.site_path import SitePath

Tables = Mapping[str, Iterable[Mapping[str, Any]]]
"""Rows by the name of their table."""

Sites = tuple[str, ...] | None
"""Sites of gradients and probes; the canonical components if None."""


def _gradients(subject: Subject, options: AnalysesConfig, sites: Sites) -> Tables:
    subject.evaluation.check_against(subject.task)
    exact = effects(grid(subject, sites), options.gradients.measure)
    estimates = [
        attribution_patching.attribute(subject, exact.sites, method, options.gradients)
        for method in attribution_patching.METHODS
    ]
    return {
        "gradients": [row for found in (exact, *estimates) for row in attribution_rows(found)],
        "gradients_agreement": agreement_rows(exact, estimates),
    }


def _circuits(subject: Subject, options: AnalysesConfig, sites: Sites) -> Tables:
    subject.evaluation.check_against(subject.task)
    edges, faithful, areas = [], [], []
    for number, method in enumerate(options.circuits.methods):
        scores = edge_scores.score_edges(subject, method, options.circuits)
        edges += edge_scores.edge_rows(scores)
        # Random circuits know nothing of the method: those of the first are those of all.
        draws = options.circuits.draws if number == 0 else 0
        measured = circuits.measure_faithfulness(subject, scores, draws=draws)
        faithful += circuits.faithfulness_rows(measured)
        areas += circuit_metrics.metric_rows(measured)
        areas += circuit_metrics.uniqueness_rows(subject, scores, measured)
    return {"edges": edges, "circuits": faithful, "circuit_metrics": areas}


def _probes(subject: Subject, options: AnalysesConfig, sites: Sites) -> Tables:
    more = subject.more_documents(options.probes.documents)
    return {"probes": probe_rows(dataclasses.replace(subject, batch=more), options.probes, sites)}


def _subspaces(subject: Subject, options: AnalysesConfig, sites: Sites) -> Tables:
    roles = _searched_roles(subject)
    searched = dataclasses.replace(
        subject,
        batch=subject.more_documents(options.subspaces.documents),
        evaluation=dataclasses.replace(subject.evaluation, roles=roles),
    )
    places, variables = _searched_places(subject), variables_of(subject.task)
    return {"subspaces": subspace_rows(searched, options.subspaces, places, variables)}


def _searched_places(subject: Subject) -> list[str]:
    inputs = [SitePath(layer, "block_input").path for layer in range(1, subject.config.layers)]
    return inputs or [SitePath(0, "mixer_input").path]


def _searched_roles(subject: Subject) -> tuple[str, ...]:
    known, asked = ("key", "value", "query"), subject.evaluation.roles
    roles = tuple(role for role in known if role in asked)
    if not roles:
        raise UserError(
            f"subspaces are searched at {', '.join(known)}: evaluation.roles, "
            f"{', '.join(asked)}, has none of them"
        )
    return roles


def _check_roles(subject: Subject, _: AnalysesConfig) -> None:
    subject.evaluation.check_against(subject.task)


def _check_circuits(subject: Subject, options: AnalysesConfig) -> None:
    _check_roles(subject, options)
    graph_of(subject.config, options.circuits.ports)


def _check_probes(subject: Subject, options: AnalysesConfig) -> None:
    targets_of(subject, options.probes)
    count_held_out("probes", options.probes.test_share, subject.available(options.probes.documents))


def _check_subspaces(subject: Subject, options: AnalysesConfig) -> None:
    _searched_roles(subject)
    search = options.subspaces
    check_dimensions(search, _searched_places(subject)[0], subject.config.width)
    count_held_out("subspaces", search.test_share, subject.available(search.documents))


def _check_components(subject: Subject, _: AnalysesConfig) -> None:
    if len(subject.batch.tokens) < 2:
        raise UserError(
            "components exchanges parts between documents: evaluation.documents is 1, at least 2"
        )


CHECKS: dict[str, Callable[[Subject, AnalysesConfig], object]] = {
    "gradients": _check_roles,
    "circuits": _check_circuits,
    "probes": _check_probes,
    "subspaces": _check_subspaces,
    "attention": lambda subject, _: check_linear(subject),
    "capacity": lambda subject, options: tasks_of_capacity(subject, options.capacity),
    "generalization": lambda subject, options: settings_of(subject, options.generalization),
    "editing": lambda subject, _: check_editing(subject),
    "overwriting": lambda subject, _: check_overwriting(subject),
    "components": _check_components,
}
"""What refuses an analysis that the task, the model or the options do not allow, before any is
measured; what only the answers show is refused later."""


def check(names: Collection[str], subject: Subject, options: AnalysesConfig) -> None:
    """Refuse analyses that are not possible, before any is measured.

    Args:
        names: Names in `ANALYSES`.
        subject: Trained model and its documents.
        options: Options of the analyses.

    Raises:
        UserError: If one is not possible.
    """
    for name in names:
        try:
            if name in CHECKS:
                CHECKS[name](subject, options)
        except UserError as error:
            raise UserError(f"the analysis {name} is not possible: {error}") from None


ANALYSES: dict[str, Callable[[Subject, AnalysesConfig, Sites], Tables]] = {
    "gradients": _gradients,
    "circuits": _circuits,
    "probes": _probes,
    "subspaces": _subspaces,
    "attention": lambda subject, options, sites: {"attention": attention_rows(subject)},
    "lens": lambda subject, options, sites: {"lens": lens_rows(subject)},
    "capacity": lambda subject, options, sites: {
        "capacity": capacity_rows(subject, options.capacity)
    },
    "generalization": lambda subject, options, sites: {
        "generalization": generalization_rows(subject, options.generalization)
    },
    "editing": lambda subject, options, sites: {"editing": editing_rows(subject)},
    "overwriting": lambda subject, options, sites: {"overwriting": overwriting_rows(subject)},
    "components": lambda subject, options, sites: {"components": component_rows(subject)},
}
