"""Metrics of circuits, by hand on graphs of five edges, and on one that has two ways."""

import dataclasses
import functools
import itertools

import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.config import EvaluationConfig
from mecheval_jax.evaluation.patching import circuit_metrics
from mecheval_jax.evaluation.patching.circuits import (
    RANDOM,
    Faithfulness,
    measure_faithfulness,
)
from mecheval_jax.evaluation.patching.edge_scores import EdgeScores, score_edges
from mecheval_jax.evaluation.patching.effects import Gap
from mecheval_jax.evaluation.patching.graph import Edge, Graph, Stage
from mecheval_jax.store.columns import long_table
from tests.support import planted

EVALUATION = EvaluationConfig(documents=4, corruptions=("key",), resamples=200)

GRAPH = Graph(
    (
        Stage(0, ("block_0/mixer_output",), (("q", ("embedding",)), ("v", ("embedding",)))),
        Stage(0, ("block_0/mlp_output",), (("", ("embedding",)),)),
        Stage(None, ("logits",), (("", ("block_0/mixer_output", "block_0/mlp_output")),)),
    )
)
"""Five edges: two into a mixer, one into an MLP, and what both add to the logits."""

RUNS = np.array([[0.9, 0.9, 0.9, 0.9], [0.1, 0.1, 0.1, 0.1]])


def faithfulness(shares, sizes=range(6), random=None):
    """Circuits that restore these shares of the gap in every document."""
    answers = 0.1 + 0.8 * np.repeat(np.asarray(shares, float)[None, :, None], 4, axis=2)
    drawn = answers[:, None] if random is None else 0.1 + 0.8 * np.asarray(random)[None, :, :, None]
    drawn = np.broadcast_to(drawn, (*drawn.shape[:3], 4))
    return Faithfulness("eap", "logit", EVALUATION, RUNS, tuple(sizes), answers, drawn)


def test_areas_by_hand():
    """Catches a rule other than the trapezoidal one, and a distance that lets excess count less."""
    found = faithfulness([0.0, 0.2, 0.6, 1.4, 1.2, 1.0])
    every = circuit_metrics.areas_of(found, "key", "every size")
    # (0 + 0.2)/2, (0.2 + 0.6)/2, (0.6 + 1.4)/2, (1.4 + 1.2)/2, (1.2 + 1)/2, each 1/5 wide.
    assert every.cpr.value == pytest.approx((0.1 + 0.4 + 1.0 + 1.3 + 1.1) / 5)
    # Distances from 1: 1, 0.8, 0.4, 0.4, 0.2, 0.
    assert every.cmd.value == pytest.approx((0.9 + 0.6 + 0.4 + 0.3 + 0.1) / 5)
    # Five edges: none up to a tenth, one at a fifth, two at a half, five at 1.
    benchmark = circuit_metrics.areas_of(found, "key", "fractions")
    by_hand = 0.1 * (0 + 0.2) / 2 + 0.3 * (0.2 + 0.6) / 2 + 0.5 * (0.6 + 1.0) / 2
    assert benchmark.cpr.value == pytest.approx(by_hand)
    far = 0.099 * 1 + 0.1 * (1 + 0.8) / 2 + 0.3 * (0.8 + 0.4) / 2 + 0.5 * (0.4 + 0.0) / 2
    assert benchmark.cmd.value == pytest.approx(far)


def test_areas_have_the_bootstrap_of_their_documents():
    """Catches an interval that takes the sizes for independent of one another."""
    found = faithfulness([0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
    steady = circuit_metrics.areas_of(found, "key", "every size").cpr
    assert steady.interval(0.95) == pytest.approx((0.5, 0.5))
    # One of four documents is never restored before the whole model: f is 3/4 of what it was.
    found.circuit[0, :-1, 3] = 0.1
    uneven = circuit_metrics.areas_of(found, "key", "every size").cpr
    low, high = uneven.interval(0.95)
    assert low < uneven.value - 0.02 < uneven.value + 0.02 < high


def test_rows_of_the_best_and_of_random_edges():
    """Catches random edges under the method's name, and a mean of only one draw."""
    draws = [[0, 0, 0, 0, 0, 1.0], [0, 0.2, 0.4, 0.6, 0.8, 1.0]]
    found = faithfulness([0.0, 1, 1, 1, 1, 1], random=draws)
    rows = {(r["circuit"], r["points"], r["metric"]): r for r in circuit_metrics.metric_rows(found)}
    assert set(rows) == set(
        itertools.product(("eap", RANDOM), circuit_metrics.POINTS, ("cpr", "cmd"))
    )
    assert rows["eap", "every size", "cpr"]["value"] == pytest.approx(0.9)
    assert rows[RANDOM, "every size", "cpr"]["value"] == pytest.approx((0.1 + 0.5) / 2)
    assert rows[RANDOM, "every size", "cmd"]["value"] == pytest.approx((0.9 + 0.5) / 2)
    assert rows[RANDOM, "every size", "cmd"]["draws"] == 2


def scores_of(changes):
    return EdgeScores("eap", "logit", EVALUATION, RUNS, GRAPH, np.asarray(changes, float)[None])


KNOWN = (GRAPH.edges[1], GRAPH.edges[3])
"""The value of the mixer, and what the mixer writes."""


def test_auroc_by_hand():
    """Catches a sign that counts, a tie that is won, and scores that are not means."""
    # |means|: 0.5, 2, 1, 0.5, 0: of six pairs of a known and another edge 4 are won, 1 is a tie.
    changes = np.outer([0.5, -2.0, 1.0, 0.5, 0.0], [0, 2, 0, 2])
    found = circuit_metrics.auroc(scores_of(changes), KNOWN, "key")
    assert found.value == pytest.approx(4.5 / 6)
    perfect = circuit_metrics.auroc(
        scores_of(np.outer([0, 1, 0, 1, 0], [1, 1, 1, 1])), KNOWN, "key"
    )
    assert perfect.value == 1.0
    assert perfect.interval(0.95) == pytest.approx((1.0, 1.0))


def test_the_least_share_of_an_effect_by_hand():
    """Catches the mean share, a share of another edge's effect, and an effect of 0."""
    effects, given = np.ones((5, 4)), np.ones((5, 4))
    effects[1], given[1] = 4.0, 2.0  # half of it
    effects[3], given[3] = 10.0, -1.0  # a tenth
    found = circuit_metrics.recovered(scores_of(given), scores_of(effects), KNOWN, "key")
    assert found.value == pytest.approx(0.1)
    np.testing.assert_allclose(found.samples, 0.1)
    effects[1] = 0.0
    found = circuit_metrics.recovered(scores_of(given), scores_of(effects), KNOWN, "key")
    assert found.value == pytest.approx(0.1)


def test_random_orders_are_as_good_as_chance():
    """Catches ranks that are not random."""
    found = circuit_metrics.random_auroc(scores_of(np.ones((5, 4))), KNOWN[:1], 0.95)
    assert found["value"] == pytest.approx(0.5, abs=0.03)
    assert (found["low"], found["high"]) == (0.0, 1.0)


def test_uniqueness_stands_beside_random_circuits():
    """Catches rows without an interval, and a random circuit that is the found one."""
    subject, scores = induction()
    found = measure_faithfulness(subject, scores, 2)
    rows = {row["circuit"]: row for row in circuit_metrics.uniqueness_rows(subject, scores, found)}
    assert {row["metric"] for row in rows.values()} == {"uniqueness"}
    own, beside = rows["exact"], rows[RANDOM]
    assert 0.9 < own["low"] <= own["value"] <= own["high"] <= 1
    assert beside["value"] < 0.9
    assert beside["draws"] == circuit_metrics.RANDOM_CIRCUITS


def test_random_circuits_of_two_rankings_are_told_apart(monkeypatch):
    """Catches rows of random circuits of which nobody can say beside which ranking they stand.

    The circuits of both rankings have three edges, so that the number does not tell them apart.
    """

    def runs(subject, graph, masks, measure):
        del subject, graph, measure
        return RUNS, np.full((*masks.shape[:2], 4), 0.1)  # nothing is restored

    monkeypatch.setattr(circuit_metrics, "run_circuits", runs)
    subject, _ = induction()
    rows = []
    for method in ("eap", "eap_ig"):
        scores = dataclasses.replace(scores_of(np.ones((5, 4))), method=method)
        found = dataclasses.replace(faithfulness([0, 0, 0, 1, 1, 1]), method=method)
        rows += circuit_metrics.metric_rows(dataclasses.replace(found, random=found.random[:, :0]))
        rows += circuit_metrics.uniqueness_rows(subject, scores, found)
    unique = [row for row in rows if row["metric"] == "uniqueness"]
    assert [(row["circuit"], row["method"], row["edges"]) for row in unique] == [
        ("eap", "", 3),
        (RANDOM, "eap", 3),
        ("eap_ig", "", 3),
        (RANDOM, "eap_ig", 3),
    ]
    names = ("circuit", "method", "corruption", "points", "edges", "metric")
    keys = [tuple(row.get(name) for name in names) for row in rows]
    assert len(set(keys)) == len(keys)
    # In the table a number of edges stays whole beside rows that have none.
    table = long_table(rows, {"run": "a"})
    assert table["edges"].dropna().tolist() == [3] * 4
    assert str(table["edges"].dtype) == "Int64"


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: circuit_metrics.auroc(scores_of(np.ones((5, 4))), (), "key"), r"0 of 5 edges"),
        (
            lambda: circuit_metrics.auroc(
                scores_of(np.ones((5, 4))),
                (Edge("embedding", "block_0/mixer_output", "dt"),),
                "key",
            ),
            r"no edge embedding -> block_0/mixer_output \(dt\)",
        ),
        (
            lambda: circuit_metrics.areas_of(
                faithfulness([0, 0.5, 1], sizes=(0, 3, 5)), "key", "fractions"
            ),
            r"circuits of 1 edges were not run",
        ),
    ],
)
def test_mistakes_are_named(ask, message):
    """Catches edges of another model, and areas through points that nobody measured."""
    with pytest.raises(UserError, match=message):
        ask()


@functools.cache
def induction():
    subject = planted.subject_of(
        planted.induction(0), planted.documents(planted.TASK, 16), EVALUATION
    )
    return subject, score_edges(subject, "exact")


def test_a_chain_is_unique_and_a_way_beside_is_found():
    """Catches a second circuit that shares an edge, and one that is not looked for."""
    subject, scores = induction()
    chain = np.isin(np.arange(12), scores.order("key")[:3])
    alone = circuit_metrics.uniqueness(subject, scores, chain, "key")
    assert alone.uniqueness.value > 0.9
    low, high = alone.uniqueness.interval(0.95)
    assert 0.9 < low <= alone.uniqueness.value <= high <= 1
    # Without the chain in it, the best circuit of other edges is the chain.
    other = circuit_metrics.uniqueness(subject, scores, ~chain, "key")
    assert (other.edges, other.uniqueness.value) == (3, pytest.approx(0, abs=1e-3))


def test_nothing_is_known_of_a_model_that_does_not_answer(monkeypatch):
    """Catches a crash where no share is known, and a number that stands for none."""
    subject, scores = induction()
    chain = np.isin(np.arange(12), scores.order("key")[:3])
    unknown = circuit_metrics.Estimate(np.nan, np.full(50, np.nan), 16)
    monkeypatch.setattr(Gap, "restored", lambda gap, answers: unknown)
    assert np.isnan(circuit_metrics.uniqueness(subject, scores, chain, "key").uniqueness.value)
