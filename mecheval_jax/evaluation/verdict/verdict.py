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
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mecheval_jax.evaluation.config import EvaluationConfig
from mecheval_jax.evaluation.patching.effects import SMALLEST_GAP
from mecheval_jax.evaluation.verdict.evidence import CORRUPTION, FEWEST_DOCUMENTS, Evidence
from mecheval_jax.evaluation.verdict.rule import (
    BOUND,
    CLASSES,
    ELSEWHERE,
    Cases,
    Span,
    Spans,
    classify,
    convolutions_of,
    label,
)
from mecheval_jax.site_path import SitePath
from mecheval_jax.statistics.bootstrap import Estimate, accuracy_interval

NO_BINDING = "none"
UNCLEAR = "undecided"

At = Callable[..., Estimate]
"""(site, *roles) -> attribution of restoring it there."""


@dataclasses.dataclass(frozen=True)
class Verdict:
    """A class and what it rests on.

    Attributes:
        verdict: one of `rule.CLASSES`.
        layer: for induction the layer that looks up (from the first whose input restores
            at the value on, the first whose output restores at the query), for direct
            retrieval and convolutional binding the layer that retrieves, for mixed the layer
            whose input was read.
        binding: where a convolution forms the pair: ``convolution_at_value``,
            ``convolution_at_next_key``, ``none``, or ``undecided``; None where no mechanism is
            named.
        reason: one sentence.
        probabilities: share of the bootstrap's replicates in which the rule gives each class.
        evidence: attribution with interval at each site the rule looks at.
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
        evidence: of the run, or pooled.
        evaluation: resamples, confidence and seed.
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
    effects = evidence.effects(evaluation)
    gap, confidence = effects.gap(CORRUPTION).mean(), evaluation.confidence
    at = functools.partial(effects.attribution, CORRUPTION, "restore")
    (accuracy_low, accuracy_high), accuracies = accuracy_interval(
        evidence.correct, evidence.asked, confidence, effects.bootstrap
    )
    gap_low, gap_high = gap.interval(confidence)

    def interval(site: str, *roles: str) -> Span:
        low, high = at(site, *roles).interval(confidence)
        return Span(np.array([low]), np.array([high]))

    def samples(site: str, *roles: str) -> Span:
        estimate = at(site, *roles)
        return Span(estimate.samples, estimate.samples)

    learned = accuracy_low > evidence.floor and gap_low > SMALLEST_GAP
    thin = bool(evidence.thin)
    spans = Spans(evidence.sites, interval, np.array([learned]), thin)
    case = classify(spans)
    often = (accuracies > evidence.floor) & (gap.samples > SMALLEST_GAP)
    replicates = classify(Spans(evidence.sites, samples, often, thin))
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
        "attributions": _attributions(evidence, at, confidence),
    }
    shares = np.bincount(replicates.verdict, minlength=len(CLASSES)) / len(replicates.verdict)
    verdict = Verdict(
        verdict=name,
        layer=layer if layer >= 0 else None,
        binding=_binding(name, layer, spans),
        reason=_reason(evidence, case, numbers, _Words(evidence, at, confidence, case.reason[1])),
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


def _attributions(evidence: Evidence, at: At, confidence: float) -> list[dict[str, Any]]:
    """The numbers that the verdict rests on."""
    found = []
    for site in evidence.sites:
        output = SitePath.parse(site).component == "block_output"
        for role in ("query",) if output else evidence.roles:
            estimate = at(site, role)
            low, high = estimate.interval(confidence)
            numbers = {"value": estimate.value, "low": low, "high": high}
            known = {n: None if np.isnan(x) else float(x) for n, x in numbers.items()}
            found.append({"site": site, "role": role, **known})
    return found


def _reason(evidence: Evidence, case: Cases, numbers: dict[str, Any], said: "_Words") -> str:
    """One sentence for the step of the rule that settled the verdict."""
    step, layer = case.reason
    if step == "not_learned":
        if not numbers["accuracy_low"] > numbers["floor"]:
            return (
                f"accuracy is at least {numbers['accuracy_low']:.1%} only, the best heuristic "
                f"without recall reaches {numbers['floor']:.1%}"
            )
        return (
            f"corrupting the key changes the answer's probability by {numbers['gap']:.3f} only: "
            "the answer is not read from the document"
        )
    if step == "thin":
        counts = ", ".join(f"{role} in {n}" for role, n in evidence.thin.items())
        return (
            f"too few documents have a role that the verdict reads ({counts}): "
            f"it takes {FEWEST_DOCUMENTS}"
        )
    if step == "nothing_restores":
        return "no layer's output at the query restores the answer"

    def both():
        return f"{said.bound} at the value and {said.elsewhere} at the key and the query"

    sentences = {
        "two_routes": lambda: f"the input of layer {layer} restores {both()}",
        "bound": lambda: (
            f"the input of layer {layer} restores {said.bound} at the value: the "
            "pair is bound in the context and looked up"
        ),
        "second_route_unclear": lambda: (
            f"the input of layer {layer} restores {both()}: whether "
            "there is a second route is not clear"
        ),
        "binding_unclear": lambda: (
            f"the input of layer {layer} restores {said.bound} at the "
            "value: neither enough for induction nor too little"
        ),
        "source_unclear": lambda: (
            "no layer's input restores at the value, and that of layer "
            f"{layer} restores {said.elsewhere} at the key and the query: the answer comes from "
            "elsewhere"
        ),
        "convolution_unclear": lambda: (
            f"layer {layer} retrieves the answer, and one vector of "
            f"its convolution restores {said.convolved}: neither enough nor too little"
        ),
        "convolved": lambda: (
            f"{said.retrieval}, and so does one vector of its convolution at "
            f"the {said.convolved_role}, {said.convolved}{said.delay}"
        ),
        "retrieved": lambda: said.retrieval + said.delay,
    }
    return sentences[step]()


class _Words:
    """Attributions around one layer in words: value [low, high]."""

    def __init__(self, evidence: Evidence, at: At, confidence: float, layer: int):
        self._sites, self._at, self._confidence = evidence.sites, at, confidence
        self._layer, self._input = layer, SitePath(layer, "block_input").path

    def _strongest(
        self, places: Sequence[tuple[str, tuple[str, ...]]]
    ) -> tuple[str, tuple[str, ...]]:
        """The words for the place with the highest interval, and its roles."""

        def low(place: tuple[str, tuple[str, ...]]) -> float:
            end = self._at(place[0], *place[1]).interval(self._confidence)[0]
            return -np.inf if np.isnan(end) else end

        site, roles = max(places, key=low)
        return self._words(site, *roles), roles

    def _words(self, site: str, *roles: str) -> str:
        estimate = self._at(site, *roles)
        low, high = estimate.interval(self._confidence)
        return f"{estimate.value:.2f} [{low:.2f}, {high:.2f}]"

    @property
    def bound(self) -> str:
        return self._strongest([(self._input, (role,)) for role in BOUND])[0]

    @property
    def elsewhere(self) -> str:
        return self._strongest([(self._input, roles) for roles in ELSEWHERE])[0]

    def _convolved(self) -> tuple[str, tuple[str, ...]]:
        sites = convolutions_of(self._sites, self._layer)
        return self._strongest([(site, (role,)) for site in sites for role in BOUND])

    @property
    def convolved(self) -> str:
        return self._convolved()[0]

    @property
    def convolved_role(self) -> str:
        return self._convolved()[1][0].replace("_", " ")

    @property
    def retrieval(self) -> str:
        output = self._words(SitePath(self._layer, "block_output").path, "query")
        return (
            f"no layer's input restores at the value; the output of layer {self._layer} at the "
            f"query restores {output}"
        )

    @property
    def delay(self) -> str:
        """What the key token still carries into the layer that retrieves."""
        if not self._layer:
            return ""
        carried = self._words(self._input, "key")
        return f", delayed: the input of layer {self._layer} at the key restores {carried}"
