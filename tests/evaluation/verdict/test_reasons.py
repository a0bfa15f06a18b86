"""Reasons: the sentence of a verdict has the numbers of the step that settled it."""

import numpy as np
import pytest

from mecheval_jax.evaluation.verdict.reasons import REASONS, reason_of
from mecheval_jax.evaluation.verdict.rule import Cases

SITES = (
    *("block_0/mixer/conv_output", "block_0/block_output"),
    *("block_1/block_input", "block_1/mixer/conv_output", "block_1/block_output"),
)
NUMBERS = {"accuracy_low": 0.9, "floor": 0.25, "gap": 0.0042, "thin": {"value": 3}}

VALUES = {
    ("block_1/block_input", "value"): 0.31,
    ("block_1/block_input", "next_key"): 0.62,
    ("block_1/block_input", "query"): 0.12,
    ("block_1/block_input", "query", "key"): 0.23,
    ("block_1/block_input", "key"): 0.11,
    ("block_1/block_output", "query"): 0.97,
    ("block_0/block_output", "query"): 0.94,
    ("block_1/mixer/conv_output", "value"): np.nan,
    ("block_1/mixer/conv_output", "next_key"): 0.71,
    ("block_0/mixer/conv_output", "value"): 0.81,
    ("block_0/mixer/conv_output", "next_key"): 0.05,
}


def sentence(step, layer, **numbers):
    case = Cases(np.zeros(1, int), np.zeros(1, int), (step, layer))
    measured = lambda *place: (VALUES[place], VALUES[place] - 0.01, VALUES[place] + 0.01)
    return reason_of(case, SITES, measured, NUMBERS | numbers)


@pytest.mark.parametrize(
    ("step", "layer", "parts"),
    [
        ("thin", -1, ["value in 3", "it takes 20"]),
        ("not_learned", -1, ["probability by 0.004 only"]),
        ("nothing_restores", -1, ["no layer's output"]),
        ("two_routes", 1, ["layer 1 restores 0.62 [0.61, 0.63] at the value and 0.23 [0.22, "]),
        ("bound", 1, ["restores 0.62 [0.61, 0.63] at the value: the pair is bound"]),
        ("second_route_unclear", 1, ["0.62", "0.23", "second route is not clear"]),
        ("binding_unclear", 1, ["0.62", "neither enough for induction nor too little"]),
        ("source_unclear", 1, ["that of layer 1 restores 0.23", "comes from elsewhere"]),
        ("convolution_unclear", 0, ["layer 0 retrieves", "restores 0.81 [0.80, 0.82]: neither"]),
        (
            "convolved",
            1,
            ["output of layer 1", "0.97", "at the next key, 0.71", "at the key restores 0.11"],
        ),
        (
            "retrieved",
            1,
            ["restores 0.97", "delayed: the input of layer 1 at the key restores 0.11"],
        ),
    ],
)
def test_a_reason_has_the_numbers_of_its_step(step, layer, parts):
    """Catches a number of another place or layer, and the lower of two."""
    said = sentence(step, layer)
    assert [part for part in parts if part not in said] == []
    assert "{" not in said


def test_the_first_layer_delays_nothing():
    """Catches an input of layer 0 that no verdict reads."""
    assert sentence("retrieved", 0).endswith("at the query restores 0.94 [0.93, 0.95]")


def test_no_better_than_a_heuristic_is_said_first():
    """Catches a small gap named where the model answers no better than by a heuristic."""
    said = sentence("not_learned", -1, accuracy_low=0.2)
    assert said == (
        "accuracy is at least 20.0% only, the best heuristic without recall reaches 25.0%"
    )


def test_every_step_of_the_rule_has_its_reason():
    """Catches a step whose verdict cannot be written."""
    steps = {"not_learned", "thin", "two_routes", "bound", "second_route_unclear"}
    steps |= {"binding_unclear", "source_unclear", "convolved", "convolution_unclear"}
    assert set(REASONS) == steps | {"retrieved", "nothing_restores", "not_better"}
