"""The rule of the verdict, on fabricated evidence."""

import dataclasses

import numpy as np
import pytest

from mecheval_jax.evaluation.verdict.verdict import judge
from tests.support.fabricated import DIRECT, EVALUATION, INDUCED, evidence_on, verdict_on


@pytest.mark.parametrize(
    ("pair", "elsewhere"), [(0.6, 0.4), (0.55, 0.3), (0.35, 0.65), (1.0, 0.24), (1.0, 1.0)]
)
def test_two_routes_at_once_are_mixed(pair, elsewhere):
    """Catches a verdict by the larger route alone, and a backup passed over."""
    verdict = verdict_on({(1, "pair"): pair, (1, "elsewhere"): elsewhere})
    assert (verdict.verdict, verdict.layer) == ("mixed", 1)
    assert f"{pair:.2f} [{pair:.2f}, {pair:.2f}]" in verdict.reason
    assert f"{elsewhere:.2f} [{elsewhere:.2f}, {elsewhere:.2f}]" in verdict.reason


def test_a_pair_that_is_bound_and_looked_up_is_induction():
    """Catches a trickle called mixed, and a sum of places in place of the places together."""
    shares = {(1, "pair"): 0.7, (1, "elsewhere"): 0.1, (1, "value"): 0.35, (1, "next_key"): 0.35}
    verdict = verdict_on(shares)
    assert (verdict.verdict, verdict.layer, verdict.binding) == ("induction", 1, "none")
    assert "0.70 [0.70, 0.70] at the pair" in verdict.reason
    apart = {(1, "value"): 0.5, (1, "next_key"): 0.5, (1, "pair"): 0.1, (1, "elsewhere"): 0.1}
    assert verdict_on(apart).verdict != "induction"


@pytest.mark.parametrize("shares", [DIRECT, INDUCED, {}])
def test_what_was_not_looked_at_is_no_evidence(shares):
    """Catches a class by what is left over: here 15 % of the answer passes somewhere else."""
    for named in (0.85, 0.95):
        verdict = verdict_on(shares | {(1, "named"): named})
        assert ("something else carries the answer" in verdict.reason) == (named < 0.9)
        assert (verdict.elsewhere == 1) == (named < 0.9)
        if named < 0.9:
            assert verdict.verdict == "undecided"


@pytest.mark.parametrize("damage", [("pair", "damage"), ("elsewhere", "damage")])
def test_both_directions_count(damage):
    """Catches a route that is called negligible although the answer is lost without it."""
    for shares, route in ((DIRECT, "pair"), (INDUCED, "elsewhere")):
        verdict = verdict_on(shares | {(1, *damage): 0.4})
        assert (verdict.verdict == "undecided") == (damage[0] == route)


@pytest.mark.parametrize("direction", [(), ("damage",)])
def test_what_works_against_the_answer_is_not_negligible(direction):
    """Catches a pair that is looked up to lower the answer, called none; also in logits alone."""
    for shares, route in ((DIRECT, "pair"), (INDUCED, "elsewhere")):
        against = {(1, route, *direction): -0.4}
        assert verdict_on(shares | against).verdict == "undecided"
        verdict = verdict_on(shares, logit=shares | against)
        assert verdict.verdict == "undecided"
        if route == "pair" and not direction:
            assert verdict.reason.startswith("in logits, the input of layer 1 restores -0.40 at")


class TestDepth:
    """Three layers: the stream is followed from the last one down."""

    def test_bound_early_or_late(self):
        """Catches the input of layer 1 read alone, and the layer that binds named."""
        early = {(1, "pair"): 1.0, (2, "question"): 1.0, (2, "elsewhere"): 1.0}
        late = {(1, "loose"): 1.0, (1, "elsewhere"): 1.0, (2, "pair"): 1.0}
        assert verdict_on(early, layers=3).layer == 1
        assert verdict_on(late, layers=3).layer == 2
        for share in (0.25, 0.5, 0.75):  # the rest is bound in layer 1
            shares = {(1, "pair"): share, (1, "loose"): 1 - share, (1, "elsewhere"): 1 - share}
            verdict = verdict_on(shares | {(2, "pair"): 1.0}, layers=3)
            assert (verdict.verdict, verdict.layer) == ("induction", 2)

    def test_what_may_be_bound_later_is_no_second_route(self):
        """Catches mixed named where a cut cannot tell: the second half is looked up in layer 2."""
        shares = {(1, "pair"): 0.5, (1, "loose"): 0.5, (1, "elsewhere"): 0.5}
        shares |= {(2, "pair"): 0.5, (2, "question"): 0.5, (2, "elsewhere"): 0.5}
        verdict = verdict_on(shares, layers=3)
        assert (verdict.verdict, "bound later" in verdict.reason) == ("undecided", True)
        # At the question after layer 0, it was never bound.
        verdict = verdict_on(shares | {(1, "loose"): 0.0, (1, "question"): 0.5}, layers=3)
        assert verdict.verdict == "mixed"

    @pytest.mark.parametrize("first", [0.99, 0.1])
    def test_the_convolution_that_holds_the_pair_is_named(self, first):
        """Catches the convolution of the last layer below named in place of another one's."""
        shares = {(1, "loose"): 1.0, (1, "elsewhere"): 1.0, (2, "pair"): 1.0}
        shares |= {(layer, "pair", "local"): 0.99 for layer in (0, 1)}
        shares |= {(0, "next_key", "local"): first, (1, "next_key", "local"): 1.09 - first}
        verdict = verdict_on(shares, layers=3, local=(0, 1))
        assert (verdict.verdict, verdict.binding) == ("induction", "convolution_at_next_key")

    @pytest.mark.parametrize("layer", [0, 1, 2])
    def test_the_first_layer_that_has_the_answer_retrieves(self, layer):
        """Catches the last layer named, whose output at the query always restores."""
        shares = {(i, "question"): 0.9 for i in range(layer + 1, 3)}
        shares |= {(i, "loose"): 0.9 for i in range(1, layer + 1)}
        shares |= {(i, "elsewhere"): 0.9 for i in range(1, 3)}
        shares |= {(i, "pair", "read"): 0.1 for i in range(layer + 1, 3)}
        verdict = verdict_on(shares, layers=3)
        assert (verdict.verdict, verdict.layer) == ("direct_retrieval", layer)

    def test_carried_by_both_together(self):
        """Catches a default class where neither set restores alone."""
        verdict = verdict_on({(1, "elsewhere"): 0.3, (1, "pair"): 0.1})
        assert (verdict.verdict, verdict.layer) == ("undecided", None)
        assert "by both together" in verdict.reason


def test_one_layer():
    """Catches a cut that a model of one layer does not have."""
    assert verdict_on({}, layers=1).verdict == "direct_retrieval"
    formed = {(0, "pair", "local"): 0.9, (0, "next_key", "local"): 0.9}
    verdict = verdict_on(formed, layers=1, local=(0,))
    assert (verdict.verdict, verdict.layer) == ("convolutional_binding", 0)
    assert verdict.binding == "convolution_at_next_key"


@pytest.mark.parametrize(
    ("local", "name", "binding"),
    [
        ({"pair": 0.9, "value+2": 0.9}, "convolutional_binding", "convolution_at_value+2"),
        ({"pair": 0.9, "value": 0.4}, "convolutional_binding", "convolution_at_pair"),
        ({"pair": 0.1, "loose": 0.9}, "direct_retrieval", "none"),
        ({"pair": 0.5, "loose": 0.5}, "mixed", "undecided"),
        ({"pair": 0.4}, "undecided", None),
    ],
)
def test_what_local_operations_form(local, name, binding):
    """Catches a convolution at the raw key counted, and one position named where several hold."""
    shares = DIRECT | {(0, role, "local"): share for role, share in local.items()}
    verdict = verdict_on(shares, local=(0,))
    assert (verdict.verdict, verdict.binding) == (name, binding)


@pytest.mark.parametrize(("layer", "binding"), [(0, "convolution_at_value"), (1, "none")])
def test_a_pair_that_stands_at_the_cut_was_formed_below_it(layer, binding):
    """Catches a convolution behind the cut, which restores what it reads, said to form it."""
    shares = {(1, "pair"): 0.6, (1, "elsewhere"): 0.4}
    shares |= {(layer, role, "local"): 0.6 for role in ("pair", "value")}
    verdict = verdict_on(shares, local=(layer,))
    assert (verdict.verdict, verdict.layer, verdict.binding) == ("mixed", 1, binding)
    # The same where the pair is looked up in a later layer.
    shares = {(cut, "pair"): 1.0 for cut in (1, 2)}
    shares |= {(layer, role, "local"): 0.9 for role in ("pair", "value")}
    verdict = verdict_on(shares, layers=3, local=(layer,))
    assert (verdict.verdict, verdict.layer, verdict.binding) == ("induction", 2, binding)


def test_a_layer_below_that_retrieves_raw_pairs_is_a_second_route():
    """Catches the class of the layer that gives most for all of the answer."""
    shares = {(1, "loose"): 0.7, (1, "question"): 0.3, (1, "elsewhere"): 1.0}
    shares |= {(1, "pair", "local"): 0.9}
    assert verdict_on(shares, local=(1,)).verdict == "mixed"  # layer 0 has no local operation
    formed = {(0, "pair", "local"): 0.3}
    assert verdict_on(shares | formed, local=(0, 1)).verdict == "convolutional_binding"


class TestDirectRetrievalIsFound:
    """Not what is left over: the answer is lost without what the layer reads."""

    def test_it_needs_the_pair_to_be_read(self):
        """Catches direct retrieval of a model whose layer does not read the pair."""
        verdict = verdict_on(DIRECT | {(0, "pair", "read"): 0.1})
        assert (verdict.verdict, verdict.layer) == ("undecided", None)
        assert "direct retrieval is not shown" in verdict.reason

    def test_and_no_other_pair(self):
        """Catches a layer that is lost whatever it reads differently."""
        verdict = verdict_on(DIRECT | {(0, "uninvolved", "read"): 0.6})
        assert verdict.verdict == "undecided"

    @pytest.mark.parametrize(("lost", "layer"), [(0.9, 1), (0.3, 0)])
    def test_a_later_layer_that_has_to_read_the_pair_completes_it(self, lost, layer):
        """Catches the layer named that reads the key alone: a later one reads its value."""
        verdict = verdict_on(DIRECT | {(1, "pair", "read"): lost})
        assert (verdict.verdict, verdict.layer) == ("direct_retrieval", layer)
        assert f"layer {layer} computes the answer" in verdict.reason
        other = {(1, "pair", "read"): lost, (1, "uninvolved", "read"): 0.6}
        assert verdict_on(DIRECT | other).layer == 0

    def test_of_a_mixer_that_says_what_it_mixes(self):
        """Catches a mixer of one's own whose convolution nobody looked at."""
        silent = dataclasses.replace(evidence_on(DIRECT), silent=(0,))
        verdict = judge(silent, EVALUATION)
        assert (verdict.verdict, "local_reach" in verdict.reason) == ("undecided", True)
        silent = dataclasses.replace(evidence_on(INDUCED), silent=(0,))
        assert judge(silent, EVALUATION).verdict == "induction"


def test_documents_that_disagree_are_undecided():
    """Catches a class that half of the resampled documents do not bear out."""
    half = np.tile([1.0, 0.0], 12)
    ends = {"clean": np.full(24, 0.9), "corrupted": np.full(24, 0.1)}
    verdict = verdict_on({(1, "pair"): 0.02 + half, (1, "elsewhere"): 0.0 * half}, **ends)
    assert (verdict.verdict, verdict.layer) == ("undecided", None)
    assert "induction by the estimates, in " in verdict.reason
    assert verdict.probabilities["induction"] < 0.95
    share = 0.35 + 0.3 * half
    verdict = verdict_on({(1, "pair"): share, (1, "elsewhere"): 1 - share}, **ends)
    assert (verdict.verdict, verdict.probabilities["mixed"]) == ("mixed", 1.0)


def test_probabilities_and_logits_must_agree():
    """Catches a class that another scale of the final norm would change."""
    shares = {(1, "pair"): 1.0, (1, "elsewhere"): 0.1}
    logit = {(1, "pair"): 0.7, (1, "elsewhere"): 0.4}
    verdict = verdict_on(shares, logit=logit)
    assert verdict.verdict == "undecided"
    assert verdict.reason == "probabilities say induction, logits say mixed"
    assert verdict.evidence["classes"] == {"probability": "induction", "logit": "mixed"}
    assert verdict.probabilities["undecided"] == 1


def test_thresholds_within_which_the_class_stays():
    """Catches a span that stops at the used threshold, or that only one measure has."""
    shares = {(1, "pair"): 0.7, (1, "elsewhere"): 0.1, (1, "named"): 0.97}
    spans = verdict_on(shares).evidence["thresholds"]
    assert spans["restored"] == [0.25, pytest.approx(0.7, abs=0.02)]
    assert spans["substantial"] == [pytest.approx(0.1, abs=0.02), 0.5]
    assert spans["named"] == [0.5, pytest.approx(0.97, abs=0.02)]
    narrower = {**shares, (1, "elsewhere"): 0.15}
    spans = verdict_on(shares, logit=narrower).evidence["thresholds"]
    assert spans["substantial"][0] == pytest.approx(0.15, abs=0.02)


@pytest.mark.parametrize(("correct", "floor"), [(0.9, 0.9), (0.5, 0.4), (0.0, 0.0625), (0.95, 0.8)])
def test_no_better_than_a_heuristic_is_not_learned(correct, floor):
    """Catches a mechanism named for a model that needs none, or for a few lucky answers."""
    verdict = verdict_on(INDUCED, correct=correct, floor=floor)
    assert (verdict.verdict, verdict.layer) == ("not_learned", None)
    assert f"{verdict.evidence['accuracy_least']:.1%}" in verdict.reason
    assert f"{floor:.1%}" in verdict.reason


@pytest.mark.parametrize(
    ("gap", "name"),
    [(-0.2, "not_learned"), (0.00009, "not_learned"), (0.009, "undecided"), (0.02, "induction")],
)
def test_an_answer_that_the_pair_does_not_change_is_not_learned(gap, name):
    """Catches ratios over a gap of nearly nothing, and recall with flat logits called none."""
    ends = {"clean": np.full(40, 0.5), "corrupted": np.full(40, 0.5 - gap)}
    verdict = verdict_on(INDUCED, **ends)
    assert (verdict.verdict, verdict.probabilities[name]) == (name, 1.0)
    if name != "induction":
        assert f"{gap:.3f}" in verdict.reason
