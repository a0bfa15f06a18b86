"""The sentence of a verdict: which step of the rule settled it, and the numbers it looked at."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mecheval_jax.evaluation.verdict.evidence import FEWEST_DOCUMENTS
from mecheval_jax.evaluation.verdict.rule import BOUND, ELSEWHERE, Cases, convolutions_of
from mecheval_jax.site_path import SitePath

Numbers = tuple[float, float, float]
"""Value of an attribution, and the ends of its interval."""

BOTH = "{bound} at the value and {elsewhere} at the key and the query"
RETRIEVED = (
    "no layer's input restores at the value; the output of layer {layer} at the query restores "
    "{output}"
)
DELAYED = ", delayed: the input of layer {layer} at the key restores {key}"
"""What the key token still carries into the layer that retrieves."""

REASONS = {
    "not_better": "accuracy is at least {accuracy_low:.1%} only, the best heuristic without "
    "recall reaches {floor:.1%}",
    "not_learned": "corrupting the key changes the answer's probability by {gap:.3f} only: the "
    "answer is not read from the document",
    "thin": "too few documents have a role that the verdict reads ({counts}): it takes {fewest}",
    "nothing_restores": "no layer's output at the query restores the answer",
    "two_routes": f"the input of layer {{layer}} restores {BOTH}",
    "bound": "the input of layer {layer} restores {bound} at the value: the pair is bound in the "
    "context and looked up",
    "second_route_unclear": f"the input of layer {{layer}} restores {BOTH}: whether there is a "
    "second route is not clear",
    "binding_unclear": "the input of layer {layer} restores {bound} at the value: neither enough "
    "for induction nor too little",
    "source_unclear": "no layer's input restores at the value, and that of layer {layer} "
    "restores {elsewhere} at the key and the query: the answer comes from elsewhere",
    "convolution_unclear": "layer {layer} retrieves the answer, and one vector of its "
    "convolution restores {convolved}: neither enough nor too little",
    "convolved": RETRIEVED + ", and so does one vector of its convolution at the "
    "{convolved_role}, {convolved}",
    "retrieved": RETRIEVED,
}
"""By the step of the rule, as of `rule.Cases.reason`."""


def reason_of(
    case: Cases,
    sites: Sequence[str],
    measured: Callable[..., Numbers],
    numbers: dict[str, Any],
) -> str:
    """One sentence for the step of the rule that settled the verdict.

    Args:
        case: Classes, of which the first is the verdict.
        sites: Sites of the verdict.
        measured: Function from a site and roles to an attribution.
        numbers: Accuracy, floor, gap, and the roles that too few documents have.
    """
    step, layer = case.reason
    if step == "not_learned" and not numbers["accuracy_low"] > numbers["floor"]:
        step = "not_better"
    delayed = layer > 0 and step in ("convolved", "retrieved")
    sentence = REASONS[step] + (DELAYED if delayed else "")
    counts = ", ".join(f"{role} in {n}" for role, n in numbers["thin"].items())
    facts = numbers | {"layer": layer, "counts": counts, "fewest": FEWEST_DOCUMENTS}
    return sentence.format(**facts, **_words(sites, layer, measured))


def _words(sites: Sequence[str], layer: int, measured: Callable[..., Numbers]) -> dict[str, str]:
    """Attributions around one layer in words, value [low, high]; the highest of several places."""
    before, after = (SitePath(layer, name).path for name in ("block_input", "block_output"))
    places = {
        "bound": [(before, role) for role in BOUND],
        "elsewhere": [(before, *roles) for roles in ELSEWHERE],
        "key": [(before, "key")],
        "output": [(after, "query")],
        "convolved": [(site, role) for site in convolutions_of(sites, layer) for role in BOUND],
    }

    def low(place: tuple[str, ...]) -> float:
        return np.nan_to_num(measured(*place)[1], nan=-np.inf, neginf=-np.inf)

    known = {name: [p for p in some if p[0] in sites] for name, some in places.items()}
    best = {name: max(some, key=low) for name, some in known.items() if some}
    words = {}
    for name, place in best.items():
        value, *ends = measured(*place)
        words[name] = f"{value:.2f} [{ends[0]:.2f}, {ends[1]:.2f}]"
    if "convolved" in best:
        words["convolved_role"] = best["convolved"][1].replace("_", " ")
    return words
