"""The verdict: known mechanisms get their name, and evidence that does not suffice gets none."""

import functools

import jax
import numpy as np
import pytest

from mecheval_jax.evaluation import interchange
from mecheval_jax.evaluation.attribution import Scores
from mecheval_jax.evaluation.config import EvaluationConfig
from mecheval_jax.evaluation.interchange import compile_grid
from mecheval_jax.evaluation.mechanism import judge
from mecheval_jax.evaluation.statistics import wilson
from tests import planted

pytestmark = pytest.mark.usefixtures("quick_compilation")

DOCUMENTS = 64
EVALUATION = EvaluationConfig(documents=DOCUMENTS, corruptions=("key",), resamples=300)
ROLES = EVALUATION.roles
IN, OUT = "block_1/block_input", "block_1/block_output"


@functools.cache
def floor():
    """The best heuristic on the planted task: one of its four values."""
    best = planted.TASK.floors(jax.random.key(0))["best"]
    assert 0.25 <= best < 0.3
    return best


@functools.cache
def grid_program(config, sites):
    """One program for all seeds of a planted model, which `measure` would compile again."""
    return compile_grid(config, planted.TASK, EVALUATION, sites)


def all_sites(config):
    return interchange.default_sites(config)


def needed_sites(config):
    """The sites that a verdict looks at, and no more: each is a program to compile."""
    inputs = [f"block_{layer}/block_input" for layer in range(1, config.layers)]
    return (*inputs, *(f"block_{layer}/block_output" for layer in range(config.layers)))


def evidence(model, sites, monkeypatch):
    """The scores of a model's grid, and how many documents it answers with more than 1/2."""
    config, params, task = model
    monkeypatch.setattr(
        interchange,
        "compile_grid",
        lambda model, task, evaluation, sites: grid_program(model, tuple(sites)),
    )
    batch = planted.documents(task, DOCUMENTS)
    grid = interchange.measure(config, params, task, batch, EVALUATION, sites(config))
    return Scores(grid, EVALUATION), int((grid.runs["probability"][0] > 0.5).sum())


# Model, sites of its grid, verdict, layer.
PLANTED = {
    "induction": (planted.induction, all_sites, "induction", 1),
    "with an MLP": (
        functools.partial(planted.induction, feed_forward="mlp"),
        needed_sites,
        "induction",
        1,
    ),
    "direct": (planted.direct_retrieval, all_sites, "direct_retrieval", 0),
    "1 layer, 4 taps": (
        functools.partial(planted.direct_retrieval, layers=1, d_conv=4),
        needed_sites,
        "direct_retrieval",
        0,
    ),
    "delayed": (planted.delayed_retrieval, all_sites, "direct_retrieval", 1),
}
SEEDS = [
    (case, seed)
    for case, (_, sites, _, _) in PLANTED.items()
    for seed in ((0, 1, 2) if sites is all_sites else (3,))
]


@pytest.mark.parametrize(("case", "seed"), SEEDS)
def test_a_planted_mechanism_gets_its_name(case, seed, monkeypatch):
    """Catches roles, layers or directions mixed up anywhere between model and verdict."""
    build, sites, name, layer = PLANTED[case]
    model = build(seed)
    scores, correct = evidence(model, sites, monkeypatch)
    assert correct >= 0.99 * DOCUMENTS
    verdict = judge(scores, model[0].layers, wilson(correct, DOCUMENTS)[0], floor())
    assert (verdict.verdict, verdict.layer) == (name, layer)
    assert "1.00 [1.00, 1.00]" in verdict.reason
    delayed = name == "direct_retrieval" and layer > 0
    assert ("delayed" in verdict.reason) == delayed
    if delayed:
        assert f"layer {layer} at the key restores 1.00" in verdict.reason


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
    "direct": {
        "block_0/block_input": "key",
        "block_0/mixer_input": "key",
        "block_0/mixer_output": "query",
        "block_0/block_output": "query",
        "block_1/block_input": "query",
        "block_1/mixer_input": None,  # layer 1 writes nothing
        "block_1/mixer_output": None,
        "block_1/block_output": "query",
    },
    "delayed": {
        "block_0/block_input": "key",
        "block_0/mixer_input": None,  # layer 0 writes nothing
        "block_0/mixer_output": None,
        "block_0/block_output": "key",
        "block_1/block_input": "key",
        "block_1/mixer_input": "key",
        "block_1/mixer_output": "query",
        "block_1/block_output": "query",
    },
}


@pytest.mark.parametrize("case", ROUTES)
def test_the_answer_passes_where_it_was_planted(case, monkeypatch):
    """Catches a site or a role read in place of another, in either direction."""
    model = PLANTED[case][0](5)
    scores, _ = evidence(model, all_sites, monkeypatch)
    assert set(ROUTES[case]) == set(scores.grid.sites)
    for site, role_that_restores in ROUTES[case].items():
        for role in ROLES:
            expected = float(role == role_that_restores)
            for direction in ("restore", "damage"):
                measured = scores.cell(site, direction, "key", role)["attribution"].value
                assert measured == pytest.approx(expected, abs=0.05), (site, role, direction)


@pytest.mark.parametrize("mixer", ["attention", "base_conv", "based", "hyena", "mamba"])
def test_an_untrained_model_has_learned_nothing(mixer, monkeypatch):
    """Catches a mechanism read out of noise."""
    layers = 2 if mixer == "based" else 1  # the first layer of Based is a BaseConv
    scores, correct = evidence(planted.untrained(mixer, layers=layers), needed_sites, monkeypatch)
    low = wilson(correct, DOCUMENTS)[0]
    verdict = judge(scores, layers, low, floor())
    assert (verdict.verdict, verdict.layer) == ("not_learned", None)
    assert f"{low:.1%}" in verdict.reason
    assert f"{floor():.1%}" in verdict.reason
    # Nor if its accuracy were taken for good: the answer does not depend on the key.
    verdict = judge(scores, layers, 1.0, floor())
    assert verdict.verdict == "not_learned"
    assert "the answer is not read from the document" in verdict.reason


def verdict_on(shares, layers=2, accuracy_low=0.9, floor=0.25, **grid):
    """The verdict on fabricated documents.

    Args:
        shares: restored share of the gap by site and role: a number, or one per document.
        layers: depth.
        accuracy_low, floor: as in `judge`.
        **grid: of `planted.fabricated_grid`.
    """
    clean = grid.pop("clean", np.full(40, 0.9))
    corrupted = grid.pop("corrupted", np.full(40, 0.1))
    restored = {place: corrupted + share * (clean - corrupted) for place, share in shares.items()}
    made = planted.fabricated_grid(clean, corrupted, restored, layers=layers, **grid)
    return judge(Scores(made, EVALUATION), layers, accuracy_low, floor)


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
    assert (verdict.verdict, verdict.layer, verdict.binding) == ("induction", 1, None)
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
    disagreeing = np.array([1, 1, 1, 1, 1, 0, 0, 0])
    runs = {"clean": np.full(8, 0.9), "corrupted": np.full(8, 0.1)}
    verdict = verdict_on({(IN, "value"): disagreeing, (OUT, "query"): np.ones(8)}, **runs)
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


@pytest.mark.parametrize(("accuracy_low", "floor"), [(0.8, 0.9), (0.25, 0.25), (0.0, 0.0625)])
def test_no_better_than_a_heuristic_is_not_learned(accuracy_low, floor):
    """Catches a mechanism named for a model that needs none."""
    verdict = verdict_on({(IN, "value"): 1.0}, accuracy_low=accuracy_low, floor=floor)
    assert (verdict.verdict, verdict.layer) == ("not_learned", None)
    assert f"{accuracy_low:.1%}" in verdict.reason
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
    verdict = verdict_on(shares, accuracy_low=0.93, floor=0.26)
    found = verdict.as_dict()["evidence"]
    assert (found["accuracy_low"], found["floor"]) == (0.93, 0.26)
    assert found["gap"] == pytest.approx(0.8)
    places = {(e["site"], e["role"]): e for e in found["attributions"]}
    expected = {(IN, role): 0.0 for role in ("key", "value", "next_key", "query")}
    expected |= {("block_0/block_output", "query"): 0.0} | shares
    assert {place: e["value"] for place, e in places.items()} == pytest.approx(expected)
    assert all(
        e["low"] <= e["value"] + 1e-9 and e["value"] <= e["high"] + 1e-9 for e in places.values()
    )
