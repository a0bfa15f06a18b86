"""The verdict: by which mechanism a model recalls.

Under key corruption, let V, Q and K be the attributions of restoring the input of layer l
(l >= 1) at the value (or next key, whichever is higher), at the query and at the key; E the
highest of Q, K and Q + K.

* V restores and E is negligible: the pair was bound in the context before layer l, which looks
  it up: ``induction``. Both substantial at one layer: ``mixed``.
* V is negligible at every layer: nothing is bound in the residual stream of the context. The
  answer is computed at the query, in the first layer whose output at the query restores:
  ``direct_retrieval``; delayed, where that is not layer 0, for then E must restore at that
  layer's input. If one vector that a convolution of that layer gives, at the value or at the next
  key, restores alone, the pair is formed there: ``convolutional_binding``.

An attribution restores above `RESTORED`, is substantial above `SUBSTANTIAL` and negligible below
that. For the verdict these are statements about intervals: one that the interval straddles is
undetermined, and a verdict that would need it is ``undecided``. A model whose accuracy does not
lie above the best heuristic of its task, or whose answers do not depend on the key, has
``not_learned``; no mechanism is named then, nor from fewer than `FEWEST_DOCUMENTS`. The same
rule applied to every replicate of the bootstrap, where an attribution is a number and nothing is
undetermined, gives the probability of each class. docs/verdict.md has the rule in full.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from mecheval_jax.evaluation.config import EvaluationConfig
from mecheval_jax.evaluation.patching.effects import SMALLEST_GAP
from mecheval_jax.evaluation.verdict.evidence import CORRUPTION, Evidence
from mecheval_jax.evaluation.verdict.reasons import Numbers, reason_of
from mecheval_jax.evaluation.verdict.rule import (
    BOUND,
    CLASSES,
    Cases,
    Span,
    Spans,
    classify,
    label,
)
from mecheval_jax.site_path import SitePath
from mecheval_jax.statistics.bootstrap import accuracy_interval

NO_BINDING = "none"
UNCLEAR = "undecided"

ENDS = ("value", "low", "high")
"""Columns of an attribution with its interval."""


@dataclasses.dataclass(frozen=True)
class Verdict:
    """A class and what it rests on.

    Attributes:
        verdict: One of `rule.CLASSES`.
        layer: For induction the layer that looks up (from the first whose input restores
            at the value on, the first whose output restores at the query), for direct
            retrieval and convolutional binding the layer that retrieves, for mixed the layer
            whose input was read.
        binding: Place where a convolution forms the pair: ``convolution_at_value``,
            ``convolution_at_next_key``, ``none``, or ``undecided``; None where no mechanism is
            named.
        reason: One sentence that says why.
        probabilities: Share of the bootstrap's replicates in which the rule gives each class.
        evidence: Attribution with its interval at each site that the rule looks at, and the
            numbers on accuracy and gap.
    """

    verdict: str
    layer: int | None
    binding: str | None
    reason: str
    probabilities: dict[str, float]
    evidence: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for ``summary.json``."""
        return dataclasses.asdict(self)


def judge(evidence: Evidence, evaluation: EvaluationConfig) -> Verdict:
    """The verdict on one run, or on several that are pooled.

    Args:
        evidence: Evidence of the run, or of several that are pooled.
        evaluation: Options, of which resamples, confidence and seed count.
    """
    return _judge(evidence, evaluation)[0]


def judge_replicates(evidence: Evidence, evaluation: EvaluationConfig) -> tuple[Verdict, list[str]]:
    """The verdict, and the class of every replicate with its layer, as of `label`.

    Evidence of one run at several steps shares its resampled documents, so that replicate i of
    one step belongs to replicate i of another.
    """
    verdict, replicates = _judge(evidence, evaluation)
    pairs = zip(replicates.verdict, replicates.layer, strict=True)
    return verdict, [label(CLASSES[index], int(layer)) for index, layer in pairs]


def _judge(evidence: Evidence, evaluation: EvaluationConfig) -> tuple[Verdict, Cases]:
    effects, sites = evidence.effects(evaluation), evidence.sites
    gap, confidence = effects.gap(CORRUPTION).mean(), evaluation.confidence
    at = functools.partial(effects.attribution, CORRUPTION, "restore")
    (accuracy_low, accuracy_high), accuracies = accuracy_interval(
        evidence.correct, evidence.asked, confidence, effects.bootstrap
    )
    gap_low, gap_high = gap.interval(confidence)

    @functools.cache
    def measured(site: str, *roles: str) -> Numbers:
        estimate = at(site, *roles)
        return (estimate.value, *estimate.interval(confidence))

    def interval(site: str, *roles: str) -> Span:
        return Span(*np.array(measured(site, *roles)[1:])[:, None])

    def samples(site: str, *roles: str) -> Span:
        estimate = at(site, *roles)
        return Span(estimate.samples, estimate.samples)

    # The rule, for the intervals and for every replicate.
    learned = np.array([accuracy_low > evidence.floor and gap_low > SMALLEST_GAP])
    often = (accuracies > evidence.floor) & (gap.samples > SMALLEST_GAP)
    thin = bool(evidence.thin)
    spans = Spans(sites, interval, learned, thin)
    case, replicates = classify(spans), classify(Spans(sites, samples, often, thin))
    # What the verdict says and rests on.
    name, layer = CLASSES[case.verdict[0]], int(case.layer[0])
    numbers = {
        "accuracy": evidence.accuracy,
        "accuracy_low": accuracy_low,
        "accuracy_high": accuracy_high,
        "floor": evidence.floor,
        "gap": gap.value,
        "gap_low": gap_low,
        "gap_high": gap_high,
        "runs": len(evidence.runs),
        "attributions": _attributions(evidence, measured),
    }
    shares = np.bincount(replicates.verdict, minlength=len(CLASSES)) / len(replicates.verdict)
    verdict = Verdict(
        verdict=name,
        layer=layer if layer >= 0 else None,
        binding=_binding(name, layer, spans),
        reason=reason_of(case, sites, measured, numbers | {"thin": evidence.thin}),
        probabilities=dict(zip(CLASSES, map(float, shares), strict=True)),
        evidence=numbers,
    )
    return verdict, replicates


def _binding(name: str, layer: int, spans: Spans) -> str | None:
    """Where a convolution forms the pair, in the layers that the class leaves for it."""
    if name == "direct_retrieval":
        return NO_BINDING  # the rule has looked
    places = {
        "convolutional_binding": range(layer, layer + 1),
        "induction": range(layer),  # bound before the layer that looks up
        "mixed": range(layer + 1),
    }
    if name not in places:
        return None
    found = {role: spans.convolved_at(places[name], role) for role in BOUND}
    restoring = [role for role, span in found.items() if span.restores[0]]
    if restoring:
        best = max(restoring, key=lambda role: found[role].low[0])
        return f"convolution_at_{best}"
    return UNCLEAR if any(span.may_restore[0] for span in found.values()) else NO_BINDING


def _attributions(evidence: Evidence, measured: Callable[..., Numbers]) -> list[dict[str, Any]]:
    """The numbers that the verdict rests on."""
    found = []
    for site in evidence.sites:
        output = SitePath.parse(site).component == "block_output"
        for role in ("query",) if output else evidence.roles:
            numbers = (None if np.isnan(x) else float(x) for x in measured(site, role))
            found.append({"site": site, "role": role} | dict(zip(ENDS, numbers, strict=True)))
    return found
