"""The sentence of a verdict: the step of the rule that settled it, with the numbers of the step."""

from collections.abc import Mapping
from typing import Any

from mecheval_jax.evaluation.config import DAMAGE, RESTORE
from mecheval_jax.evaluation.verdict.evidence import FEWEST_DOCUMENTS
from mecheval_jax.evaluation.verdict.exchanges import UNINVOLVED, WITHHOLD
from mecheval_jax.evaluation.verdict.places import LOCAL, READING, STREAM
from mecheval_jax.evaluation.verdict.rule import CLASSES
from mecheval_jax.site_path import SitePath

CUT = "the input of layer {layer} restores {pair} at the pair and {elsewhere} elsewhere"
READ = (
    "no layer's input restores at the pair; layer {layer} computes the answer at the question, and "
    "{read} of it is lost if that layer reads another pair there ({other_read} if one that is not "
    "asked)"
)
REASONS = {
    "not_better": "with 99.9 % confidence accuracy is above {accuracy_least:.1%} only, which is "
    "not above the {floor:.1%} of the best heuristic without recall",
    "not_learned": "corrupting the pair changes the answer's probability by {gap:.3f} only: the "
    "answer comes from elsewhere (of two pairs, it can be found by excluding the other)",
    "faint": "corrupting the pair changes the answer's probability by {gap:.4f}: too little to say "
    "what restores it",
    "faint_logit": "corrupting the pair changes the answer too little to say what restores it",
    "not_finite": "documents whose logits are not finite: {not_finite}; nothing can be said of "
    "what restores the answer",
    "thin": "{documents} documents have a pair to look for: it takes {fewest}",
    "unlocated": "all positions that were looked at restore {named} together at the input of layer "
    "{layer}: something else carries the answer",
    "bound": f"{CUT}: the pair is bound in the context and looked up",
    "two_routes": f"{CUT}: there are two routes",
    "routes_unclear": f"{CUT}: whether the second route is bound later is not clear",
    "binding_unclear": "the input of layer {layer} restores {pair} at the pair, and {damage} is "
    "lost if it is taken there: neither enough for induction nor too little",
    "source_unclear": "the input of layer {layer} restores neither at the pair, {pair}, nor "
    "elsewhere, {elsewhere}: the answer is carried by both together",
    "silent": "layer {layer} retrieves the answer, and its mixer does not say what it mixes "
    "locally (local_reach)",
    "convolved": "no layer's input restores at the pair; what the local operations of layer "
    "{layer} give at the pair restores {local}",
    "two_routes_inside": "what the local operations of layer {layer} give restores {local} at "
    "the pair and {local_loose} before it is complete: there are two routes",
    "convolution_unclear": "layer {layer} retrieves the answer, and what its local operations give "
    "at the pair restores {local}: neither enough nor too little",
    "retrieved": READ,
    "not_shown": f"{READ}: direct retrieval is not shown",
    "measures_differ": "probabilities say {classes[probability]}, logits say {classes[logit]}",
    "unsure": "{likeliest} by the estimates, in {chance:.0%} of the resampled documents only",
}
"""By the step of the rule, as of `rule.Cases.reason`; or of the verdict where it abstains."""

PLACES = {
    "pair": (STREAM, RESTORE, "pair"),
    "damage": (STREAM, DAMAGE, "pair"),
    "elsewhere": (STREAM, RESTORE, "elsewhere"),
    "named": (STREAM, RESTORE, "named"),
    "local": (LOCAL, RESTORE, "pair"),
    "local_loose": (LOCAL, RESTORE, "loose"),
    "read": (READING, WITHHOLD, "pair"),
    "other_read": (READING, WITHHOLD, UNINVOLVED),
}
"""Words of the sentences, and the numbers that they stand for."""


def reason_of(
    step: tuple[str, int],
    numbers: Mapping[str, Any],
    probabilities: Mapping[str, float],
    measure: str = "probability",
) -> str:
    """One sentence for the step of the rule that settled the verdict.

    Args:
        step: Step of the rule, and its layer; for ``unsure`` the class that would have been given.
        numbers: Evidence of the verdict.
        probabilities: Share of the replicates in which the rule gives each class.
        measure: Measure in which the step was taken; of logits there are no intervals.
    """
    name, layer = step
    if name == "not_learned" and not numbers["accuracy_least"] > numbers["floor"]:
        name = "not_better"
    if name == "faint" and measure == "logit":
        name = "faint_logit"
    facts = {"fewest": FEWEST_DOCUMENTS, "layer": layer, "likeliest": "", "chance": 0.0}
    if name == "unsure":
        facts |= {"likeliest": CLASSES[layer], "chance": probabilities[CLASSES[layer]]}
    rows, logits = numbers["attributions"], measure == "logit"
    words = {key: _words(rows, layer, place, logits) for key, place in PLACES.items()}
    reason = REASONS[name].format(**{**numbers, **facts, **words})
    return f"in logits, {reason}" if logits else reason


def _words(
    rows: list[dict[str, Any]], layer: int, place: tuple[str, str, str], logits: bool
) -> str:
    """An attribution of a layer in words: value [low, high], or its value in logits.

    Of a single document no interval is known, and the value stands alone.
    """
    kind, direction, role = place
    for row in rows:
        same = (row["kind"], row["direction"], row["role"]) == (kind, direction, role)
        if same and SitePath.parse(row["site"]).layer == layer:
            value = row["logit" if logits else "value"]
            if value is None:
                return "nothing that can be told"
            if logits or row["low"] is None:
                return f"{value:z.2f}"
            return f"{value:z.2f} [{row['low']:z.2f}, {row['high']:z.2f}]"
    return "nothing"
