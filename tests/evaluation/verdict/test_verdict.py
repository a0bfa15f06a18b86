"""The verdict: known mechanisms get their name, and evidence that does not suffice gets none."""

import functools

import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.patching.effects import effects
from mecheval_jax.evaluation.patching.grid import grid
from mecheval_jax.evaluation.verdict.evidence import (
    Evidence,
    convolution_sites,
    verdict_sites,
)
from mecheval_jax.evaluation.verdict.measurement import sites_of_evidence
from mecheval_jax.evaluation.verdict.rule import CLASSES, label
from mecheval_jax.evaluation.verdict.verdict import judge, judge_replicates
from mecheval_jax.statistics.bootstrap import accuracy_interval
from tests.support import planted

DOCUMENTS = planted.EVALUATION.documents
EVALUATION = planted.EVALUATION
ROLES = EVALUATION.roles
IN, OUT = "block_1/block_input", "block_1/block_output"
CONVOLVED = "block_0/mixer/conv_output"

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


def evidence_on(shares, layers=2, correct=0.95, floor=0.25, convolutions=(), **grid):
    """Evidence of fabricated documents.

    Args:
        shares: restored share of the gap by site and role: a number, or one per document.
        layers: depth.
        correct: share of right answers.
        floor: as in `Evidence`.
        convolutions: names of convolution outputs of every layer.
        **grid: of `planted.fabricated_grid`.
    """
    clean = grid.pop("clean", np.full(40, 0.9))
    corrupted = grid.pop("corrupted", np.full(40, 0.1))
    restored = {place: corrupted + share * (clean - corrupted) for place, share in shares.items()}
    made = planted.fabricated_grid(
        clean, corrupted, restored, layers=layers, inside=convolutions, **grid
    )
    sites = tuple(site for site in made.sites if site != "block_0/block_input")
    asked = np.ones(len(clean))
    right = np.arange(len(clean)) < round(correct * len(clean))
    return Evidence.of_grid(made, sites, right, asked, floor)


def verdict_on(shares, **options):
    """The verdict on `evidence_on`."""
    return judge(evidence_on(shares, **options), EVALUATION)


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


def test_few_documents_give_no_verdict():
    """Catches a verdict on 19 documents, or on a next key in three, that all agree by chance."""
    shares = {(IN, "value"): 1.0, (OUT, "query"): 1.0}
    for count, name in ((19, "undecided"), (20, "induction")):
        runs = {"clean": np.full(count, 0.9), "corrupted": np.full(count, 0.1)}
        verdict = verdict_on(shares, correct=1.0, **runs)
        assert verdict.verdict == name
        assert verdict.probabilities[name] == 1
        assert ("value in 19" in verdict.reason) == (count == 19)
    present = np.ones((4, 40), bool)
    present[2, 3:] = False
    verdict = verdict_on(shares, present=present)
    assert (verdict.verdict, "next_key in 3" in verdict.reason) == ("undecided", True)


def test_probabilities_of_a_few_right_answers_do_not_claim_certainty():
    """Catches replicates that are all right because all answers were, beside `not_learned`."""
    verdict = verdict_on({(IN, "value"): 1.0}, correct=1.0, floor=0.95)
    assert verdict.verdict == "not_learned"
    assert 0.02 < verdict.probabilities["not_learned"] < 0.5


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


# Convolutions.

DIRECT = {
    ("block_0/block_output", "query"): 1.0,
    (IN, "query"): 1.0,
    (OUT, "query"): 1.0,
}


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


@pytest.mark.parametrize(
    ("mixer", "names"),
    [
        ("attention", set()),
        ("mamba", {"mixer/conv_output"}),
        ("hyena", {"mixer/conv_output"}),
        ("h3", {"mixer/shift_output"}),
        ("delta_net", {"mixer/k", "mixer/v"}),
        ("gla", set()),
    ],
)
def test_what_a_convolution_gives(mixer, names):
    """Catches keys without a convolution taken for convolved ones, and sites that are missed."""
    config = planted.shape_of(mixer, layers=1)
    assert set(convolution_sites(config)) == {f"block_0/{name}" for name in names}


def test_a_canon_convolution_is_read_too():
    """Catches a residual convolution before the mixer that is passed over."""
    config = planted.shape_of("attention", layers=1, canon=4)
    assert convolution_sites(config) == ("block_0/canon_output",)


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


def test_evidence_survives_its_file(tmp_path):
    """Catches a pooled verdict that rests on other numbers than the runs' own."""
    evidence = evidence_on(DIRECT)
    evidence.write(tmp_path / "evidence.npz")
    again = Evidence.read(tmp_path / "evidence.npz")
    assert judge(again, EVALUATION) == judge(evidence, EVALUATION)
    (tmp_path / "evidence.npz").write_bytes(b"PK")
    with pytest.raises(UserError, match="damaged"):
        Evidence.read(tmp_path / "evidence.npz")
    with pytest.raises(UserError, match=r"launch\.intervene writes it"):
        Evidence.read(tmp_path / "nothing.npz")


def test_different_architectures_are_not_pooled():
    """Catches an average over places that are not the same."""
    with pytest.raises(UserError, match="cannot be pooled"):
        Evidence.pool([evidence_on(DIRECT), evidence_on(DIRECT, convolutions=("mixer/k",))])
