"""Forms of the JSON files of runs and sweeps, which whoever reads them can rely on."""

from collections.abc import Iterable, Mapping
from typing import Any

from mecheval_jax.forms import COUNT, NUMBER

MAYBE = (COUNT, None)
"""A step at which something happened, null if it did not."""

ESTIMATE = dict.fromkeys(("value", "low", "high"), NUMBER)

ROW = {
    **dict.fromkeys(("site", "role", "kind?", "direction?"), str),
    **ESTIMATE,
    **dict.fromkeys(("logit?", "untrained?", "placebo?"), NUMBER),
    "single?": bool,
}
"""Form of an attribution in the evidence of a verdict."""

LOOKED_AT = {
    **dict.fromkeys(("site", "role", "direction", "kind"), str),
    **ESTIMATE,
    "single": bool,
}
"""Form of the attributions of which the concentration is made; verdicts of 0.4 have others."""

EVIDENCE = {
    "gap?": NUMBER,
    "attributions?": [ROW],
    "distractor?": ESTIMATE | {"documents": COUNT},
    "thresholds?": {...: [float, float]},
    "left_out?": COUNT,
    "failed?": [str],
    "runs?": COUNT,
}

STANDING = {
    "step": COUNT,
    "accuracy": NUMBER,
    "verdict": str,
    "layer": MAYBE,
    "probabilities": {...: float},
}
"""Form of what was found at one step of training, where several were judged."""

TRANSITION = {"before": str, "after": str, "step": COUNT, "low": COUNT, "high": MAYBE}
"""Form of a change of the verdict, whose upper end may be open."""

ACCURACY = ("accuracy", "accuracy_low", "accuracy_high")

FLOORS = {"best": float, ...: float}

SUMMARY = {
    "finished?": bool,
    "step?": COUNT,
    **dict.fromkeys(("diverged_at?", "stopped_at?", "layer?", "evidence_step?"), MAYBE),
    **dict.fromkeys((*(f"{name}?" for name in ACCURACY), "likelihood?", "loss?"), NUMBER),
    "floors?": FLOORS,
    **dict.fromkeys(("verdict?", "reason?", "evidence_split?"), str),
    "binding?": (str, None),
    "probabilities?": {...: float},
    "evidence?": (None, EVIDENCE),
    "circuit?": (None, {"edges": COUNT, "of": COUNT, "faithfulness": float}),
    "over_training?": (None, {"steps": [STANDING], "transitions": [TRANSITION]}),
}
"""``summary.json``"""

FINISHED = SUMMARY | {"finished": bool, "step": COUNT, "floors": FLOORS}
FINISHED |= dict.fromkeys(ACCURACY, NUMBER)
"""``summary.json`` of a run that has come to its end."""

EXAMPLE = {
    "words": [str],
    "roles": {...: [str]},
    "questions": [{"number": COUNT, "position": COUNT, "asked": str, "answer": str}],
}
"""``example.json``"""

PROVENANCE = {
    "program?": (str, None),
    "arguments?": [str],
    "folder?": str,
    "versions?": {...: str},
    "commit?": (str, None),
    "platform?": str,
    "started?": str,
    "own_code?": {...: str},
    "python_path?": str,
}
"""``provenance.json``"""

MEMBER = {"place": COUNT, "of": range(1, 2**31)}
"""``member.json``"""

SWEEP = {
    "base": {
        "task": dict,
        "model": dict,
        "training": {"steps": COUNT},
        "evaluation": {"confidence?": float},
    },
    "members": [{"training.steps?": COUNT}],
    "groups": [{"name": str, "title": str, "members": [COUNT]}],
    "hashes?": [str],
}
"""``sweep.json``"""

STRATEGY = {"kind": str, "at_once?": COUNT}
"""``strategy.json``"""


def over_training(summary: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    """The steps at which a summary has verdicts over the training."""
    return (summary.get("over_training") or {}).get("steps", ())


def half_a_verdict(summary: Mapping[str, Any]) -> str | None:
    """What a summary lacks of its verdict, or of one over the training; None if nothing."""
    if summary.get("verdict") is None and summary.get("reason") is not None:
        return "it has the reason of a verdict, and no verdict"
    return without_probability(over_training(summary))


def without_probability(standings: Iterable[Mapping[str, Any]]) -> str | None:
    """The first verdict of a summary, or of its steps, that lacks its share of the bootstrap."""
    for one in standings:
        verdict = one.get("verdict")
        if verdict is not None and verdict not in one.get("probabilities", {}):
            return f"verdict {verdict!r} has no probability"
    return None
