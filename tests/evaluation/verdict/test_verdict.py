"""The verdict: known mechanisms get their name, and evidence that does not suffice gets none."""

import functools

import numpy as np
import pytest

from mecheval_jax.evaluation.patching.effects import effects
from mecheval_jax.evaluation.patching.grid import grid
from mecheval_jax.evaluation.verdict.evidence import (
    Evidence,
    verdict_sites,
)
from mecheval_jax.evaluation.verdict.measurement import sites_of_evidence
from mecheval_jax.evaluation.verdict.rule import label
from mecheval_jax.evaluation.verdict.verdict import judge, judge_replicates
from tests.support import planted
from tests.support.fabricated import DIRECT, EVALUATION, IN, OUT, ROLES, evidence_on, verdict_on

DOCUMENTS = planted.EVALUATION.documents

# Model, verdict, layer, binding.
PLANTED = {
    "induction": (planted.induction, "induction", 1, "none"),
    "direct": (planted.direct_retrieval, "direct_retrieval", 0, "none"),
    "delayed": (planted.delayed_retrieval, "direct_retrieval", 1, "none"),
    "at value": (
        functools.partial(planted.convolution, d_conv=4),
        "convolutional_binding",
        0,
        "convolution_at_value",
    ),
    "at next key": (
        functools.partial(planted.convolution, d_conv=4, later=1),
        "convolutional_binding",
        0,
        "convolution_at_next_key",
    ),
    "mixture": (planted.mixture, "mixed", 1, "none"),
}
ONE_LAYER = (
    functools.partial(planted.convolution, layers=1, d_conv=4),
    "convolutional_binding",
    0,
    "convolution_at_value",
)


def sites_of(config):
    """All that the tests read of one shape, so that it is compiled once."""
    return verdict_sites(config) if config.layers == 1 else sites_of_evidence(config)


@pytest.mark.parametrize("case", [*PLANTED, "one layer"])
def test_a_planted_mechanism_gets_its_name(case):
    """Catches roles, layers or directions mixed up anywhere between model and verdict."""
    build, name, layer, binding = (PLANTED | {"one layer": ONE_LAYER})[case]
    for seed in (1, 2):
        model = build(seed)
        verdict = planted.verdict_of(model, seed, sites=sites_of(model[0]))
        assert verdict.evidence["accuracy"] >= 0.99
        assert (verdict.verdict, verdict.layer, verdict.binding) == (name, layer, binding)
        assert verdict.probabilities[name] == 1
        delayed = name == "direct_retrieval" and layer > 0
        assert ("delayed" in verdict.reason) == delayed
        if delayed:
            assert f"layer {layer} at the key restores 1.00" in verdict.reason
        if name != "mixed":
            assert "1.00 [1.00, 1.00]" in verdict.reason


VOCABULARIES = [
    planted.task_with(key_vocabulary=keys, value_vocabulary=values)
    for keys, values in ((8, 8), (6, 8), (8, 6), (7, 5))
]


TWO_TAPS = (planted.convolution, *PLANTED["at value"][1:])


@pytest.mark.slow
@pytest.mark.parametrize("case", [*PLANTED, "two taps"])
def test_every_planted_mechanism_gets_its_name(case):
    """200 vocabularies and seeds: catches a rule that is right for some directions only."""
    build, name, layer, binding = (PLANTED | {"two taps": TWO_TAPS})[case]
    wrong = []
    for seed in range(200):
        model = build(seed, task=VOCABULARIES[seed % len(VOCABULARIES)])
        verdict = planted.verdict_of(model, documents_seed=1000 + seed)
        if (verdict.verdict, verdict.layer, verdict.binding) != (name, layer, binding):
            wrong.append((seed, verdict.verdict, verdict.reason))
    assert not wrong


@pytest.mark.slow
def test_untrained_models_have_learned_nothing():
    """200 models of five architectures: catches a mechanism read out of noise."""
    mixers = ("attention", "base_conv", "based", "hyena", "mamba")
    named = [
        verdict.verdict
        for seed in range(200)
        for verdict in [planted.verdict_of(planted.untrained(mixers[seed % 5], seed), seed)]
        if verdict.verdict != "not_learned"
    ]
    assert len(named) <= 6, named


# Where the answer passes, by role: everywhere else nothing comes back.
ROUTES = {
    "induction": {
        "block_0/block_input": "key",
        "block_0/mixer_input": "key",
        "block_0/mixer_output": "value",
        "block_0/block_output": "value",
        "block_1/block_input": "value",
        "block_1/mixer_input": "value",
        "block_1/mixer_output": "query",
        "block_1/block_output": "query",
    },
    "delayed": {
        "block_0/block_input": "key",
        "block_0/mixer_input": None,  # layer 0 writes nothing
        "block_0/mixer_output": None,
        "block_0/mlp_input": None,
        "block_0/mlp_output": None,
        "block_0/block_output": "key",
        "block_1/block_input": "key",
        "block_1/mixer_input": "key",
        "block_1/mixer_output": "query",
        "block_1/mlp_input": "query",
        "block_1/mlp_output": "query",
        "block_1/block_output": "query",
    },
    "at value": {
        "block_0/block_input": "key",
        "block_0/mixer_input": "key",
        "block_0/mixer/conv_output": "value",
        "block_0/mixer_output": "query",
        "block_0/block_output": "query",
        "block_1/block_input": "query",
        "block_1/mixer_input": None,  # layer 1 writes nothing
        "block_1/mixer/conv_output": None,
        "block_1/mixer_output": None,
        "block_1/block_output": "query",
    },
}


@pytest.mark.parametrize("case", ROUTES)
def test_the_answer_passes_where_it_was_planted(case):
    """Catches a site or a role read in place of another, in either direction."""
    model = config, _, task = PLANTED[case][0](5)
    subject = planted.subject_of(model, planted.documents(task, DOCUMENTS), EVALUATION)
    found = effects(grid(subject, sites_of(config)))
    assert set(ROUTES[case]) == set(found.sites)
    for site, role_that_restores in ROUTES[case].items():
        for role in ROLES:
            expected = float(role == role_that_restores)
            for direction in ("restore", "damage"):
                measured = found.attribution("key", direction, site, role).value
                assert measured == pytest.approx(expected, abs=0.05), (site, role, direction)


@pytest.mark.parametrize("mixer", ["attention", "based"])
def test_an_untrained_model_has_learned_nothing(mixer):
    """Catches a mechanism read out of noise."""
    layers = 2 if mixer == "based" else 1  # the first layer of Based is a BaseConv
    model = config, _, task = planted.untrained(mixer, layers=layers)
    subject = planted.subject_of(model, planted.documents(task, DOCUMENTS), EVALUATION)
    found = grid(subject, verdict_sites(config))
    verdict = judge(planted.evidence_of(found, config), EVALUATION)
    assert (verdict.verdict, verdict.layer, verdict.binding) == ("not_learned", None, None)
    assert verdict.probabilities["not_learned"] == 1
    assert f"{verdict.evidence['accuracy_low']:.1%}" in verdict.reason
    assert f"{planted.floor():.1%}" in verdict.reason
    # Nor if its accuracy were taken for good: the answer does not depend on the key.
    right = [np.ones(DOCUMENTS)] * 2
    good = Evidence.of_grid(found, verdict_sites(config), *right, planted.floor())
    verdict = judge(good, EVALUATION)
    assert verdict.verdict == "not_learned"
    assert "the answer is not read from the document" in verdict.reason


def test_probabilities_of_a_few_right_answers_do_not_claim_certainty():
    """Catches replicates that are all right because all answers were, beside `not_learned`."""
    verdict = verdict_on({(IN, "value"): 1.0}, correct=1.0, floor=0.95)
    assert verdict.verdict == "not_learned"
    assert 0.02 < verdict.probabilities["not_learned"] < 0.5


def test_without_the_next_key():
    """Catches a rule that needs a role which the task, or every document, lacks."""
    shares, roles = {(IN, "value"): 0.9}, ("key", "value", "next_key", "query")
    assert verdict_on(shares, roles=("key", "value", "query")).verdict == "induction"
    present = np.ones((4, 40), bool)
    present[roles.index("next_key")] = False
    verdict = verdict_on(shares, roles=roles, present=present)
    assert verdict.verdict == "induction"
    absent = [e for e in verdict.evidence["attributions"] if e["role"] == "next_key"]
    assert absent == [{"site": IN, "role": "next_key", "value": None, "low": None, "high": None}]


def test_the_evidence_holds_the_numbers():
    """Catches a verdict whose numbers cannot be traced in summary.json."""
    shares = {(IN, "value"): 0.7, (IN, "query"): 0.05, (OUT, "query"): 1.0}
    verdict = verdict_on(shares, floor=0.26)
    found = verdict.as_dict()["evidence"]
    assert (found["accuracy"], found["floor"]) == (0.95, 0.26)
    assert found["accuracy_low"] < 0.95 < found["accuracy_high"]
    assert found["gap"] == pytest.approx(0.8)
    places = {(e["site"], e["role"]): e for e in found["attributions"]}
    expected = {(IN, role): 0.0 for role in ("key", "value", "next_key", "query")}
    expected |= {("block_0/block_output", "query"): 0.0} | shares
    assert {place: e["value"] for place, e in places.items()} == pytest.approx(expected)
    assert all(
        e["low"] <= e["value"] + 1e-9 and e["value"] <= e["high"] + 1e-9 for e in places.values()
    )


def test_replicates_name_the_layer():
    """Catches a mechanism that moves to another layer in training and is taken for the same."""
    shares = {("block_2/block_input", "value"): 0.9, ("block_2/block_output", "query"): 0.9}
    verdict, replicates = judge_replicates(evidence_on(shares, layers=3), EVALUATION)
    assert set(replicates) == {"induction (layer 2)"}
    assert label(verdict.verdict, verdict.layer) == "induction (layer 2)"
    assert label("undecided", -1) == label("undecided", None) == "undecided"


# Several runs.


def test_runs_are_resampled_before_documents():
    """Catches runs pooled as if their documents were those of one: seeds that differ count."""
    induces = {(IN, "value"): 0.9, (OUT, "query"): 1.0}
    retrieves = DIRECT | {(IN, "value"): 0.0}
    runs = [evidence_on(shares) for shares in (induces, induces, induces)]
    verdict = judge(Evidence.pool(runs), EVALUATION)
    assert (verdict.verdict, verdict.evidence["runs"]) == ("induction", 3)
    divided = [evidence_on(shares) for shares in (induces, retrieves) * 2]
    verdict = judge(Evidence.pool(divided), EVALUATION)
    at_value = next(e for e in verdict.evidence["attributions"] if e["role"] == "value")
    assert at_value["value"] == pytest.approx(0.45)
    # Every document of a run agrees: documents alone would give an interval without width.
    assert at_value["high"] - at_value["low"] > 0.4
