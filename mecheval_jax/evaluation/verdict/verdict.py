"""The verdict: the mechanism by which a model recalls.

Clean and corrupted documents differ in the earlier token of the asked pair. The input of a layer
l >= 1 is a cut. At a cut, let P be the share of the gap that clean activations at the pair restore
(at its later token, and as far behind it as local operations reach), E that of all positions that
cannot hold the pair, together with the question, and N that of all of these together.

* N must be at least `NAMED` at every cut: otherwise positions that were not measured carry the
  answer, and the verdict abstains (`search` says where they are).
* P restores and E is negligible at a cut: the pair was bound in the context and is looked up:
  ``induction``. If both are substantial, and a part was certainly never bound: ``mixed``.
* P is negligible at every cut: nothing is bound in the residual stream. The answer is computed at
  the question, in the first layer whose output there restores. If the outputs of this layer's local
  operations at the pair restore, the pair is formed there: ``convolutional_binding``. If they do
  not, and the answer is lost when the layer's output at the question is that of another pair, but
  not when it is that of a pair which is not asked: ``direct_retrieval``.

A share restores above `RESTORED`, is substantial above `SUBSTANTIAL` and negligible below it, both
restored and taken from the clean run (thresholds of `rule`). The rule is applied to probabilities
and to logits, to the estimates and to every replicate of the bootstrap. A class stands if both
measures give it, in at least the share `confidence` of the replicates; otherwise the verdict is
``undecided``. A model that is no better than the best heuristic of its task (`GUARD`), or whose
answers do not depend on the pair (`NO_GAP`), has ``not_learned``. docs/verdict.md has the rule in
full.
"""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from mecheval_jax.evaluation.config import RESTORE, EvaluationConfig
from mecheval_jax.evaluation.patching.effects import SMALLEST_GAP
from mecheval_jax.evaluation.verdict import rule
from mecheval_jax.evaluation.verdict.evidence import FEWEST_DOCUMENTS, Evidence, EvidenceCell
from mecheval_jax.evaluation.verdict.exchanges import SETS, UNINVOLVED
from mecheval_jax.evaluation.verdict.places import LOCAL, STREAM
from mecheval_jax.evaluation.verdict.reasons import reason_of
from mecheval_jax.statistics.bootstrap import Bootstrap, Estimate, share_interval
from mecheval_jax.tasks.scoring import MEASURES

NO_BINDING = "none"

GUARD = 0.999
"""Confidence with which the accuracy must lie above the floor. At 95 %, a heuristic as good as the
floor would pass for a mechanism in one of forty runs."""

NO_GAP = SMALLEST_GAP / 100
"""Gap up to which the pair does not change the answer. Logits that hardly differ may give the right
answer with a gap between this and `SMALLEST_GAP`, which has no shares."""

SPANS = {
    "named": (rule.NAMED, np.linspace(0.5, 0.99, 50)),
    "restored": (rule.RESTORED, np.linspace(0.25, 0.95, 71)),
    "substantial": (rule.SUBSTANTIAL, np.linspace(0.02, 0.5, 49)),
}
"""Thresholds of the rule, and the ranges in which the sensitivity of a verdict is examined."""


@dataclasses.dataclass(frozen=True)
class Verdict:
    """A class, and the numbers that it rests on.

    Attributes:
        verdict: One of `rule.CLASSES`.
        layer: For induction the layer that looks up, for direct retrieval and convolutional
            binding the layer that retrieves, for mixed the layer whose input was read or, where
            both routes lie inside a layer, that layer.
        binding: Position at which a convolution forms the pair: ``convolution_at_value``,
            ``convolution_at_next_key``, ``convolution_at_value+2``, ``convolution_at_pair`` if no
            single position restores, ``none``, or ``undecided``; None if no mechanism is named.
        reason: Reason in one sentence.
        probabilities: Share of the bootstrap's replicates in which both measures give each class.
        evidence: Attribution with its interval at each place of the rule, numbers on accuracy and
            gap, and the thresholds within which the class does not change.
        elsewhere: Layer before which unmeasured positions carry the answer; None if there is none.
    """

    verdict: str
    layer: int | None
    binding: str | None
    reason: str
    probabilities: dict[str, float]
    evidence: dict[str, Any]
    elsewhere: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for ``summary.json``."""
        return {k: v for k, v in dataclasses.asdict(self).items() if k != "elsewhere"}


def judge(evidence: Evidence, evaluation: EvaluationConfig) -> Verdict:
    """The verdict on one run, or on several that are pooled.

    Args:
        evidence: Evidence of the run, or of several that are pooled.
        evaluation: Options of the evaluation: resamples, confidence and seed.
    """
    return judge_replicates(evidence, evaluation)[0]


def judge_replicates(evidence: Evidence, evaluation: EvaluationConfig) -> tuple[Verdict, list[str]]:
    """The verdict, and the class of every replicate with its layer, as in `rule.label`.

    Evidence of one run at several steps shares its resampled documents, so that replicate i of
    one step belongs to replicate i of another.
    """
    # Accuracy, gap and shares of the gap, each with its replicates.
    bootstrap, confidence = evidence.bootstrap(evaluation), evaluation.confidence
    shares = {measure: _estimates(evidence, measure, bootstrap) for measure in MEASURES}
    (low, high), _ = share_interval(evidence.correct, evidence.asked, confidence, bootstrap)
    gap = evidence.gap("probability", bootstrap).mean()
    gap_low, gap_high = gap.interval(confidence)
    guard = _guard(evidence, evaluation, bootstrap)
    thin, told = evidence.different < FEWEST_DOCUMENTS, _told(evidence)
    # Without a gap in logits there are no shares of it, however much the probability changes.
    in_logits = evidence.gap("logit", bootstrap).mean().value
    faint = dict.fromkeys(MEASURES, not thin and not guard.gap > SMALLEST_GAP)
    faint["logit"] |= not thin and not in_logits > SMALLEST_GAP

    def apply(
        measure: str, read: Callable[[Estimate], Any], learned: np.ndarray, limits: rule.Thresholds
    ) -> rule.Cases:
        size = len(learned)
        known = {
            cell[:4]: np.broadcast_to(np.nan if _is_thin(cell, estimate) else read(estimate), size)
            for cell, estimate in zip(evidence.cells, shares[measure], strict=True)
        }
        facts = rule.Facts(evidence.layers, known, learned, faint[measure], thin, evidence.silent)
        return rule.classify(facts, limits)

    # Apply the rule to estimates, to replicates, and to estimates under other thresholds.
    # Without any document that has a pair apart from the question, no gap is known (NaN).
    learned = bool(guard.accuracy > evidence.floor and not guard.gap <= NO_GAP)
    point, replicates = (
        {m: apply(m, read, when, rule.Thresholds()) for m in MEASURES}
        for read, when in ((_value, np.array([learned])), (_samples, guard.often))
    )
    name, layer, step, measure = _agreed(point)
    classes = _both([replicates[m].verdict for m in MEASURES])
    chances = np.bincount(classes, minlength=len(rule.CLASSES)) / len(classes)
    if learned and told["not_finite"]:
        name, layer, step, measure = rule.UNDECIDED, -1, ("not_finite", -1), "probability"
    if learned and name != rule.UNDECIDED and chances[rule.CLASSES.index(name)] < confidence:
        step = ("unsure", rule.CLASSES.index(name))
        name, layer = rule.UNDECIDED, -1
    spans = {
        field: _span(field, {m: int(point[m].verdict[0]) for m in MEASURES}, apply, learned)
        for field in SPANS
    }
    # Collect the numbers that the verdict rests on.
    numbers = {
        "accuracy": evidence.accuracy,
        "accuracy_low": low,
        "accuracy_high": high,
        "accuracy_least": guard.accuracy,
        "floor": evidence.floor,
        "gap": _known(gap.value),
        "gap_low": _known(gap_low),
        "gap_high": _known(gap_high),
        "runs": len(evidence.documents),
        "documents": int(evidence.documents.sum()),
        "left_out": int(evidence.left_out.sum()),
        "classes": {m: rule.CLASSES[point[m].verdict[0]] for m in MEASURES},
        "thresholds": spans,
        "attributions": list(_attributions(evidence, shares, confidence)),
    }
    probabilities = dict(zip(rule.CLASSES, map(float, chances), strict=True))
    verdict = Verdict(
        verdict=name,
        layer=layer if layer >= 0 else None,
        binding=_binding(name, layer, step[0], evidence, shares["probability"]),
        reason=reason_of(step, numbers | told, probabilities, measure),
        probabilities=probabilities,
        evidence=numbers,
        elsewhere=step[1] if step[0] == "unlocated" else None,
    )
    layers = replicates["probability"].layer
    pairs = zip(classes, np.where(classes == rule.UNDECIDED_INDEX, -1, layers), strict=True)
    return verdict, [rule.label(rule.CLASSES[index], int(at)) for index, at in pairs]


class Guard(NamedTuple):
    """What each of the judged runs surely has, before its mechanism is asked for.

    Of several runs it is that of the weakest: each of them is to have learned the task. How far
    they lie apart, of which two or three tell little, does not count.

    Attributes:
        accuracy: Accuracy above which each run lies with the confidence `GUARD`.
        gap: Gap above which each run lies; NaN if none has a document that is judged.
        often: [replicates] Whether all runs have learned.
    """

    accuracy: float
    gap: float
    often: np.ndarray


def _guard(evidence: Evidence, evaluation: EvaluationConfig, bootstrap: Bootstrap) -> Guard:
    """The guard of a run, by the resamples of its other numbers, or of several, each by its own."""
    runs, each = evidence.runs(), []
    for run in runs:
        bootstrap = bootstrap if len(runs) == 1 else run.bootstrap(evaluation)
        (least, _), accuracies = share_interval(run.correct, run.asked, GUARD, bootstrap)
        gap = run.gap("probability", bootstrap).mean()
        often = (accuracies > run.floor) & ~(gap.samples <= NO_GAP)
        each.append(Guard(least, gap.interval(evaluation.confidence)[0], often))
    accuracies, gaps, often = zip(*each, strict=True)
    known = [gap for gap in gaps if not np.isnan(gap)]
    return Guard(min(accuracies), min(known, default=np.nan), np.all(often, axis=0))


def _told(evidence: Evidence) -> dict[str, int]:
    """Numbers of the sentence alone: documents that several runs share count once."""
    strange = ~np.isfinite(evidence.ends).all(axis=(0, 1))
    strange |= ~(np.isfinite(evidence.patched) | ~evidence.present).all(axis=(0, 1))
    return {"documents": evidence.different, "not_finite": int(strange.sum())}


def _known(number: float) -> float | None:
    return None if np.isnan(number) else float(number)


def _is_thin(cell: EvidenceCell, estimate: Estimate) -> bool:
    """Whether too few documents have another pair to tell what it does."""
    return cell.role == UNINVOLVED and estimate.documents < FEWEST_DOCUMENTS


def _value(estimate: Estimate) -> float:
    return estimate.value


def _samples(estimate: Estimate) -> np.ndarray:
    return estimate.samples


def _estimates(evidence: Evidence, measure: str, bootstrap: Bootstrap) -> list[Estimate]:
    gap = evidence.gap(measure, bootstrap)
    return [evidence.share(i, measure, gap) for i in range(len(evidence.cells))]


def _both(verdicts: Iterable[np.ndarray]) -> np.ndarray:
    """The class that both measures give; undecided if they differ."""
    first, second = verdicts
    return np.where(first == second, first, rule.UNDECIDED_INDEX)


def _agreed(point: dict[str, rule.Cases]) -> tuple[str, int, tuple[str, int], str]:
    """Class, layer, step of the rule and the measure that it was taken in.

    Undecided if the measures give different classes: by the step of the one that abstains.
    """
    first, second = (point[measure] for measure in MEASURES)
    if first.verdict[0] == second.verdict[0]:
        return rule.CLASSES[first.verdict[0]], int(first.layer[0]), first.reason, MEASURES[0]
    for measure, case in point.items():
        if case.verdict[0] == rule.UNDECIDED_INDEX:
            return rule.UNDECIDED, -1, case.reason, measure
    return rule.UNDECIDED, -1, ("measures_differ", -1), MEASURES[0]


def _span(
    field: str, classes: dict[str, int], apply: Callable[..., rule.Cases], learned: bool
) -> list[float]:
    """The range of a threshold, around its value, in which neither measure's class changes."""
    used, tried = SPANS[field]
    same = np.ones(len(tried), bool)
    for measure, found in classes.items():
        limits = rule.Thresholds(**{field: tried})
        same &= apply(measure, _value, np.full(len(tried), learned), limits).verdict == found
    below, above = ~same & (tried < used), ~same & (tried > used)
    low = tried[below].max() if below.any() else tried[0]
    high = tried[above].min() if above.any() else tried[-1]
    return [round(float(low), 2), round(float(high), 2)]


def _binding(
    name: str, layer: int, step: str, evidence: Evidence, shares: list[Estimate]
) -> str | None:
    """Position at which a convolution forms the pair, in the layers that the class allows.

    Local operations behind the cut at which routes are mixed, or at which the pair is bound,
    restore what they read there.
    """
    if name == "direct_retrieval":
        return NO_BINDING  # the rule has excluded it
    bound = [
        cell.layer
        for cell, estimate in zip(evidence.cells, shares, strict=True)
        if (cell.kind, cell.direction, cell.role) == (STREAM, RESTORE, "pair")
        and estimate.value > rule.RESTORED
    ]
    places = {
        "convolutional_binding": range(layer, layer + 1),
        "induction": range(min([layer, *bound])),
        "mixed": range(layer + (step == "two_routes_inside")),
    }
    if name not in places:
        return None
    found = {
        cell: estimate.value
        for cell, estimate in zip(evidence.cells, shares, strict=True)
        if cell.kind == LOCAL
        and cell.layer in places[name]
        and estimate.documents >= FEWEST_DOCUMENTS
    }
    together = [value for cell, value in found.items() if cell.role == "pair"]
    if not together or max(together) < rule.SUBSTANTIAL:
        return NO_BINDING
    # Several layers may have a convolution: the one that restores the most names the position.
    singles = {cell: value for cell, value in found.items() if cell.role not in SETS[LOCAL]}
    best = max(singles, key=lambda cell: np.nan_to_num(singles[cell], nan=-np.inf))
    if singles[best] > rule.RESTORED:
        return f"convolution_at_{best.role}"
    return "convolution_at_pair" if max(together) > rule.RESTORED else rule.UNDECIDED


def _attributions(
    evidence: Evidence, shares: dict[str, list[Estimate]], confidence: float
) -> Iterable[dict[str, Any]]:
    """The numbers that the verdict rests on, with those of single positions."""
    for i, cell in enumerate(evidence.cells):
        estimate, logit = (shares[measure][i] for measure in MEASURES)
        numbers = (estimate.value, *estimate.interval(confidence), logit.value)
        names = ("value", "low", "high", "logit")
        yield {
            **{name: getattr(cell, name) for name in ("kind", "site", "direction", "role")},
            **dict(zip(names, map(_known, numbers), strict=True)),
            "documents": estimate.documents,
            "single": cell.kind in (STREAM, LOCAL) and cell.role not in SETS[cell.kind],
        }
