"""Reasons: the sentence of a verdict has the numbers of the step that settled it."""

import inspect
import re

import pytest

from mecheval_jax.evaluation.verdict import rule
from mecheval_jax.evaluation.verdict.reasons import REASONS, reason_of
from mecheval_jax.evaluation.verdict.rule import CLASSES


def row(kind, layer, direction, role, value):
    site = f"block_{layer}/block_input"
    ends = (None, None) if value is None else (value - 0.01, value + 0.01)
    place = {"kind": kind, "site": site, "direction": direction, "role": role, "value": value}
    return place | dict(zip(("low", "high"), ends, strict=True))


NUMBERS = {
    "accuracy_least": 0.9,
    "floor": 0.25,
    "gap": 0.0042,
    "documents": 13,
    "classes": {"probability": "induction", "logit": "mixed"},
    "attributions": [
        row("stream", 1, "restore", "pair", 0.62),
        row("stream", 1, "damage", "pair", 0.43),
        row("stream", 1, "restore", "elsewhere", 0.23),
        row("stream", 1, "restore", "named", 0.81),
        row("local", 0, "restore", "pair", 0.71),
        row("local", 0, "restore", "loose", 0.05),
        row("reading", 0, "withhold", "pair", 0.94),
        row("reading", 0, "withhold", "uninvolved", None),
        row("reading", 1, "withhold", "pair", 0.17),
    ],
}
CHANCES = dict.fromkeys(CLASSES, 0.0) | {"mixed": 0.61}


@pytest.mark.parametrize(
    ("step", "layer", "parts"),
    [
        ("faint", -1, ["probability by 0.0042: too little"]),
        ("thin", -1, ["13 documents", "it takes 20"]),
        ("not_learned", -1, ["probability by 0.004 only"]),
        ("unlocated", 1, ["restore 0.81 [0.80, 0.82] together", "layer 1: something else"]),
        ("two_routes", 1, ["0.62 [0.61, 0.63] at the pair and 0.23 [0.22, 0.24] elsewhere"]),
        ("two_routes_inside", 0, ["restores 0.71", "and 0.05 [0.04, 0.06] before"]),
        ("routes_unclear", 1, ["0.62", "0.23", "bound later is not clear"]),
        ("bound", 1, ["restores 0.62 [0.61, 0.63] at the pair", "the pair is bound"]),
        ("binding_unclear", 1, ["0.62", "0.43 [0.42, 0.44] is lost", "nor too little"]),
        ("source_unclear", 1, ["0.62", "0.23", "by both together"]),
        ("silent", 1, ["layer 1", "local_reach"]),
        ("convolved", 0, ["local operations of layer 0", "0.71 [0.70, 0.72]"]),
        ("convolution_unclear", 0, ["layer 0 retrieves", "restores 0.71", "neither enough"]),
        (
            "retrieved",
            0,
            ["0.94 [0.93, 0.95] of it is lost", "nothing that can be told"],
        ),
        ("not_shown", 1, ["layer 1", "0.17", "direct retrieval is not shown"]),
        ("measures_differ", -1, ["probabilities say induction, logits say mixed"]),
        ("unsure", CLASSES.index("mixed"), ["mixed by the estimates, in 61% of"]),
    ],
)
def test_a_reason_has_the_numbers_of_its_step(step, layer, parts):
    """Catches a number of another place, direction or layer."""
    said = reason_of((step, layer), NUMBERS, CHANCES)
    assert [part for part in parts if part not in said] == []
    assert "{" not in said


def test_a_step_taken_in_logits_has_their_numbers():
    """Catches a reason whose probabilities say the opposite of what the logits do."""
    rows = [known | {"logit": -0.37} for known in NUMBERS["attributions"]]
    numbers = NUMBERS | {"attributions": rows}
    said = reason_of(("binding_unclear", 1), numbers, CHANCES, "logit")
    assert said.startswith("in logits, the input of layer 1 restores -0.37 at the pair, and -0.37")


def test_what_is_not_known_is_said():
    """Catches a traceback at the end of a run: of one document there is a value and no interval,
    and where the logits of the answer do not change there are no shares of them."""
    known = NUMBERS["attributions"]
    alone = row("reading", 0, "withhold", "uninvolved", 0.12) | {"low": None, "high": None}
    said = reason_of(("retrieved", 0), NUMBERS | {"attributions": [*known[:-2], alone]}, CHANCES)
    assert "(0.12 if one that is not asked)" in said
    without = NUMBERS | {"attributions": [one | {"logit": None} for one in known]}
    said = reason_of(("unlocated", 1), without, CHANCES, "logit")
    assert "restore nothing that can be told together" in said
    assert reason_of(("faint", -1), without, CHANCES, "logit").startswith("in logits, corrupting")


def test_no_better_than_a_heuristic_is_said_first():
    """Catches a small gap named where the model answers no better than by a heuristic."""
    said = reason_of(("not_learned", -1), NUMBERS | {"accuracy_least": 0.2}, CHANCES)
    assert said == (
        "with 99.9 % confidence accuracy is above 20.0% only, which is not above the 25.0% of the "
        "best heuristic without recall"
    )


def test_every_step_of_the_rule_has_its_reason():
    """Catches a step whose verdict cannot be written."""
    step = r'settle\([^"]*(?:"\w+"|UNDECIDED),\s+"(\w+)"'
    steps = set(re.findall(step, inspect.getsource(rule.classify)))
    assert len(steps) >= 13
    assert set(REASONS) == steps | {
        *(rule.NOT_LEARNED, "not_better", "not_finite", "faint_logit", "measures_differ", "unsure")
    }
