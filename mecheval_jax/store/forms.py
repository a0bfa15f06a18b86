"""Forms of the JSON files of runs and sweeps, which whoever reads them can rely on."""

from mecheval_jax.forms import COUNT, NUMBER

MAYBE = (COUNT, None)
"""A step at which something happened, null if it did not."""

ROW = {
    "site": str,
    "role": str,
    "kind?": str,
    "direction?": str,
    "single?": bool,
    "value": NUMBER,
    "low": NUMBER,
    "high": NUMBER,
    "logit?": NUMBER,
    "untrained?": NUMBER,
    "placebo?": NUMBER,
}
"""Of what a verdict rests on."""

EVIDENCE = {
    "gap?": NUMBER,
    "attributions?": [ROW],
    "distractor?": {"value": NUMBER, "low": NUMBER, "high": NUMBER, "documents": COUNT},
    "thresholds?": {...: [float]},
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
"""Of one of several steps that were judged."""

TRANSITION = {"before": str, "after": str, "step": COUNT, "low": MAYBE, "high": MAYBE}

SUMMARY = {
    "finished?": bool,
    "step?": COUNT,
    "diverged_at?": MAYBE,
    "stopped_at?": MAYBE,
    "accuracy?": NUMBER,
    "accuracy_low?": NUMBER,
    "accuracy_high?": NUMBER,
    "likelihood?": NUMBER,
    "loss?": NUMBER,
    "floors?": {...: NUMBER},
    "verdict?": str,
    "layer?": MAYBE,
    "binding?": (str, None),
    "reason?": str,
    "probabilities?": {...: float},
    "evidence_step?": MAYBE,
    "evidence?": (None, EVIDENCE),
    "over_training?": (None, {"steps": [STANDING], "transitions": [TRANSITION]}),
}
"""``summary.json``"""

FINISHED = SUMMARY | {
    "finished": bool,
    "step": COUNT,
    "accuracy": NUMBER,
    "accuracy_low": NUMBER,
    "accuracy_high": NUMBER,
    "floors": {"best": float},
}
"""``summary.json`` of a run that has come to its end."""

PROVENANCE = {
    "arguments?": [str],
    "versions?": {...: str},
    "commit?": (str, None),
    "platform?": str,
    "started?": str,
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
}
"""``sweep.json``"""

STRATEGY = {"kind": str, "at_once?": COUNT}
"""``strategy.json``"""
