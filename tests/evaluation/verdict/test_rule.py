"""The rule of the verdict, on fabricated evidence."""

import numpy as np
import pytest

from mecheval_jax.evaluation.verdict.rule import CLASSES
from mecheval_jax.evaluation.verdict.verdict import judge_replicates
from mecheval_jax.statistics.bootstrap import accuracy_interval
from tests.support.fabricated import CONVOLVED, DIRECT, EVALUATION, IN, OUT, evidence_on, verdict_on


@pytest.mark.parametrize(
    ("value", "key", "query"),
    [(0.6, 0.0, 0.4), (0.55, 0.3, 0.0), (0.35, 0.25, 0.25), (1.0, 0.12, 0.12)],
)
def test_two_routes_at_once_are_mixed(value, key, query):
    """Catches a verdict by the larger route alone, or by either of key and query alone."""
    verdict = verdict_on({(IN, "value"): value, (IN, "key"): key, (IN, "query"): query})
    assert (verdict.verdict, verdict.layer) == ("mixed", 1)
    assert f"{value:.2f} [{value:.2f}, {value:.2f}]" in verdict.reason
    assert f"{key + query:.2f} [{key + query:.2f}, {key + query:.2f}]" in verdict.reason


@pytest.mark.parametrize("role", ["value", "next_key"])
def test_bound_at_the_value_or_at_the_next_key_is_induction(role):
    """Catches a rule that looks at one of the two only, or that calls a trickle mixed."""
    verdict = verdict_on({(IN, role): 0.7, (IN, "query"): 0.1, (OUT, "query"): 1.0})
    assert (verdict.verdict, verdict.layer, verdict.binding) == ("induction", 1, "none")
    assert "0.70 [0.70, 0.70]" in verdict.reason


def test_induction_in_a_later_layer():
    """Catches a rule that looks at the input of layer 1 alone."""
    verdict = verdict_on({("block_2/block_input", "value"): 0.9}, layers=3)
    assert (verdict.verdict, verdict.layer) == ("induction", 2)


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_direct_retrieval_is_named_by_the_first_layer_that_has_the_answer(layer):
    """Catches the last layer named, whose output at the query always restores."""
    shares = {(f"block_{i}/block_output", "query"): 0.9 for i in range(layer, 3)}
    shares |= {(f"block_{i}/block_input", "query"): 0.9 for i in range(layer + 1, 3)}
    shares |= {(f"block_{i}/block_input", "key"): 0.8 for i in range(layer + 1)}
    verdict = verdict_on(shares, layers=3)
    assert (verdict.verdict, verdict.layer) == ("direct_retrieval", layer)
    assert "0.90 [0.90, 0.90]" in verdict.reason
    assert ("delayed" in verdict.reason) == (layer > 0)
    assert ("0.80" in verdict.reason) == (layer > 0)


def test_one_layer_cannot_induce():
    """Catches an input of layer 1 that is looked up in a model without one."""
    verdict = verdict_on({("block_0/block_output", "query"): 1.0}, layers=1)
    assert (verdict.verdict, verdict.layer) == ("direct_retrieval", 0)
    verdict = verdict_on({("block_0/block_input", "value"): 1.0}, layers=1)
    assert (verdict.verdict, verdict.layer) == ("undecided", None)


def test_documents_that_disagree_are_undecided():
    """Catches a verdict by the point value, 0.63 here, whatever its interval."""
    disagreeing = np.tile([1, 1, 1, 1, 1, 0, 0, 0], 3)
    runs = {"clean": np.full(24, 0.9), "corrupted": np.full(24, 0.1)}
    verdict = verdict_on({(IN, "value"): disagreeing, (OUT, "query"): np.ones(24)}, **runs)
    assert (verdict.verdict, verdict.layer) == ("undecided", None)
    assert "0.62 [" in verdict.reason
    # With many documents the same shares are enough.
    many = {name: np.tile(run_, 40) for name, run_ in runs.items()}
    verdict = verdict_on({(IN, "value"): np.tile(disagreeing, 40)}, **many)
    assert verdict.verdict == "induction"


def test_neither_much_nor_little_is_undecided():
    """Catches 0.3 at the value taken for none, and direct retrieval named beside it."""
    verdict = verdict_on({(IN, "value"): 0.3, (OUT, "query"): 1.0})
    assert (verdict.verdict, verdict.layer) == ("undecided", None)
    assert "0.30 [0.30, 0.30]" in verdict.reason


def test_nothing_restores_is_undecided():
    """Catches a default class where the evidence is empty."""
    verdict = verdict_on({(OUT, "query"): 0.4})
    assert (verdict.verdict, verdict.layer) == ("undecided", None)


@pytest.mark.parametrize(("correct", "floor"), [(0.9, 0.9), (0.5, 0.4), (0.0, 0.0625)])
def test_no_better_than_a_heuristic_is_not_learned(correct, floor):
    """Catches a mechanism named for a model that needs none, or for a few lucky answers."""
    verdict = verdict_on({(IN, "value"): 1.0}, correct=correct, floor=floor)
    assert (verdict.verdict, verdict.layer) == ("not_learned", None)
    assert f"{verdict.evidence['accuracy_low']:.1%}" in verdict.reason
    assert f"{floor:.1%}" in verdict.reason


@pytest.mark.parametrize(("gap", "learned"), [(0.009, False), (-0.2, False), (0.02, True)])
def test_an_answer_that_the_key_does_not_change_is_not_learned(gap, learned):
    """Catches ratios over a gap of nearly nothing."""
    runs = {"clean": np.full(40, 0.5), "corrupted": np.full(40, 0.5 - gap)}
    verdict = verdict_on({(IN, "value"): 1.0}, **runs)
    assert verdict.verdict == ("induction" if learned else "not_learned")
    if not learned:
        assert f"{gap:.3f}" in verdict.reason


@pytest.mark.parametrize(
    ("place", "share", "name", "binding"),
    [
        (("mixer/conv_output", "value"), 0.9, "convolutional_binding", "convolution_at_value"),
        (("mixer/k", "next_key"), 0.9, "convolutional_binding", "convolution_at_next_key"),
        (("mixer/conv_output", "key"), 1.0, "direct_retrieval", "none"),
        (("mixer/conv_output", "value"), 0.4, "direct_retrieval", "none"),
        (("mixer/conv_output", "value"), np.arange(40) % 2, "undecided", None),
    ],
)
def test_direct_retrieval_whose_pair_a_convolution_forms(place, share, name, binding):
    """Catches a convolution at the key counted, or one that restores in half of the documents."""
    site, role = place
    shares = DIRECT | {(f"block_0/{site}", role): share}
    verdict = verdict_on(shares, convolutions=("mixer/conv_output", "mixer/k"))
    assert (verdict.verdict, verdict.binding) == (name, binding)
    # The same vector in a layer that does not retrieve changes nothing.
    other = DIRECT | {(f"block_1/{site}", role): share}
    verdict = verdict_on(other, convolutions=("mixer/conv_output", "mixer/k"))
    assert (verdict.verdict, verdict.binding) == ("direct_retrieval", "none")


def test_induction_keeps_its_name_when_a_convolution_binds():
    """Catches the inside of a mixer overruling the residual stream, as in Based."""
    shares = {(IN, "value"): 1.0, (OUT, "query"): 1.0, (CONVOLVED, "value"): 0.8}
    verdict = verdict_on(shares, convolutions=("mixer/conv_output",))
    assert (verdict.verdict, verdict.binding) == ("induction", "convolution_at_value")
    # In the layer that looks up, it would be no binding.
    shares = {(IN, "value"): 1.0, ("block_1/mixer/conv_output", "value"): 0.8}
    assert verdict_on(shares, convolutions=("mixer/conv_output",)).binding == "none"


# Probabilities.


def test_a_second_route_that_is_not_clear_leaves_the_verdict_open():
    """Catches induction named where every second replicate says mixed."""
    some = (np.arange(40) < 8).astype(float)  # a share of 0.2
    verdict = verdict_on({(IN, "value"): 1.0, (IN, "query"): some, (OUT, "query"): 1.0})
    assert (verdict.verdict, verdict.layer, verdict.binding) == ("undecided", None, None)
    assert 0.2 < verdict.probabilities["induction"] < 0.8
    assert 0.2 < verdict.probabilities["mixed"] < 0.8
    assert "second route" in verdict.reason


def rule_by_hand(row, layers):
    """The class of one replicate, by ifs over plain numbers."""
    if not row["learned"]:
        return "not_learned"
    bound = [
        max(row[f"block_{i}/block_input", r] for r in ("value", "next_key"))
        for i in range(1, layers)
    ]
    other = [
        max(key, query, key + query)
        for i in range(1, layers)
        for key, query in [[row[f"block_{i}/block_input", r] for r in ("key", "query")]]
    ]
    for v, e in zip(bound, other, strict=True):
        if v > 0.5:
            return "mixed" if e > 0.2 else "induction"
    if any(v > 0.2 and e > 0.2 for v, e in zip(bound, other, strict=True)):
        return "mixed"
    if any(v >= 0.2 for v in bound):
        return "undecided"
    for i in range(layers):
        if row[f"block_{i}/block_output", "query"] > 0.5:
            if i and not other[i - 1] > 0.5:
                return "undecided"
            convolved = max(row[f"block_{i}/mixer/conv_output", r] for r in ("value", "next_key"))
            return "convolutional_binding" if convolved > 0.5 else "direct_retrieval"
    return "undecided"


def test_probabilities_are_the_rule_in_every_replicate():
    """Catches a vectorised rule whose steps run in another order than they are stated in."""
    draw = np.random.default_rng(0)
    seen = set()
    for repeat in range(12):
        sites = [
            f"block_{i}/{part}"
            for i in range(3)
            for part in ("block_input", "mixer/conv_output", "block_output")
        ]
        # Shares near the thresholds, which differ from document to document.
        shares = {
            (site, role): draw.choice([0.0, 0.15, 0.5, 0.9]) * draw.integers(0, 2)
            + draw.normal(0, 0.3, 40)
            for site in sites
            for role in ("key", "value", "next_key", "query")
        }
        evidence = evidence_on(
            shares, layers=3, convolutions=("mixer/conv_output",), correct=(10 + 2 * repeat) / 40
        )
        verdict, replicates = judge_replicates(evidence, EVALUATION)
        found = evidence.effects(EVALUATION)
        samples = {
            (s, r): found.attribution("key", "restore", s, r).samples
            for s in evidence.sites
            for r in evidence.roles
        }
        answers = (evidence.correct, evidence.asked, EVALUATION.confidence, found.bootstrap)
        learned = (accuracy_interval(*answers)[1] > 0.25) & (found.gap("key").mean().samples > 0.01)
        by_hand = [
            rule_by_hand({p: x[i] for p, x in samples.items()} | {"learned": learned[i]}, 3)
            for i in range(EVALUATION.resamples)
        ]
        assert [name.partition(" (")[0] for name in replicates] == by_hand
        shares_of = {name: by_hand.count(name) / len(by_hand) for name in CLASSES}
        assert verdict.probabilities == pytest.approx(shares_of)
        seen |= set(by_hand)
    assert seen >= set(CLASSES) - {"convolutional_binding", "direct_retrieval"}
