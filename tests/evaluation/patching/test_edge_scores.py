"""Scores of edges: one definition of an effect, and estimates that keep their promises."""

import dataclasses
import functools

import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.config import EDGE_METHODS, CircuitsConfig, EvaluationConfig
from mecheval_jax.evaluation.patching.edge_scores import (
    METHODS,
    EdgeScores,
    edge_rows,
    score_edges,
)
from mecheval_jax.evaluation.patching.exchange import CLEAN
from mecheval_jax.evaluation.patching.graph import Edge, Graph, Stage
from tests.support import planted

EVALUATION = EvaluationConfig(documents=6, corruptions=("key",), resamples=50)


@functools.cache
def example():
    return planted.lively_subject("attention", EVALUATION)


@functools.cache
def scored(method, steps=3):
    return score_edges(example(), method, CircuitsConfig(steps=steps, measure="logit"))


def test_base_and_clean_are_the_models_own(plain):
    """Catches scores that start from another run than the corrupted one."""
    for run, sent in ((CLEAN, plain.clean), (1, plain.corrupted)):
        answer, _ = plain.run(sent["embedding"], lambda edge, x: x)
        np.testing.assert_allclose(scored("exact").runs[run], answer, rtol=1e-4, atol=1e-4)


def test_an_edges_effect_is_that_of_restoring_it(plain):
    """Catches an edge given to another reader or port, and a base other than the corrupted run."""
    scores = scored("exact")
    for i, edge in enumerate(scores.graph.edges):
        restored = lambda here, x, edge=edge: (
            x + (plain.clean[edge.sender] - plain.corrupted[edge.sender]) * (here == edge)
        )
        answers = [
            plain.run(plain.corrupted["embedding"], receive)[0]
            for receive in (restored, lambda here, x: x)
        ]
        np.testing.assert_allclose(
            scores.changes[0, i], answers[0] - answers[1], rtol=1e-3, atol=1e-3
        )


@pytest.mark.parametrize(("method", "times"), [("eap", [1.0]), ("eap_ig", [1 / 6, 1 / 2, 5 / 6])])
def test_an_estimate_is_a_derivative(plain, method, times):
    """Catches a gradient at the wrong run, a sign, and a score of another edge."""
    scores, step = scored(method), 1e-5
    for i, edge in enumerate(scores.graph.edges):
        difference = plain.clean[edge.sender] - plain.corrupted[edge.sender]

        def slope(time, edge=edge, difference=difference):
            ends = plain.corrupted["embedding"], plain.clean["embedding"]
            along = (1 - time) * ends[0] + time * ends[1]

            def moved(by):
                return plain.run(along, lambda here, x: x + by * difference * (here == edge))[0]

            return (moved(step) - moved(-step)) / (2 * step)

        expected = np.mean([slope(time) for time in times], axis=0)
        np.testing.assert_allclose(scores.changes[0, i], expected, rtol=2e-3, atol=2e-3)


def test_integrated_scores_add_up_to_the_total_effect(plain):
    """Catches an integral over another line, a step that counts twice, and a missing edge."""
    out_of = lambda scores, node: np.sum(
        [c for e, c in zip(scores.graph.edges, scores.changes[0], strict=True) if e.sender == node],
        axis=0,
    )
    clean, corrupted = scored("eap_ig", 64).runs
    total = out_of(scored("eap_ig", 64), "embedding")
    assert np.abs(total - (clean - corrupted)).max() < 0.01 * np.abs(clean - corrupted).mean()
    # Over activations the scores of the edges of any one sender are its total effect.
    sender = "block_0/mixer_output"
    difference = plain.clean[sender] - plain.corrupted[sender]
    whole, _ = plain.run(
        plain.corrupted["embedding"], lambda edge, x: x + difference * (edge.sender == sender)
    )
    total = out_of(scored("eap_ig_activations", 64), sender)
    assert np.abs(total - (whole - corrupted)).max() < 0.01 * np.abs(whole - corrupted).mean()


@functools.cache
def induction_edges(method):
    subject = planted.subject_of(
        planted.induction(0), planted.documents(planted.TASK, 32), EVALUATION
    )
    return score_edges(subject, method, CircuitsConfig(measure="logit"))


THE_PATH = (
    Edge("embedding", "block_0/mixer_output", "v"),
    Edge("block_0/mixer_output", "block_1/mixer_output", "k"),
    Edge("block_1/mixer_output", "logits"),
)


@pytest.mark.parametrize("method", ["exact", "eap_ig"])
def test_the_edges_of_induction_come_first(method):
    """Catches scores that do not find the mechanism that was planted."""
    scores = induction_edges(method)
    assert {scores.graph.edges[i] for i in scores.order("key")[:3]} == set(THE_PATH)


def test_a_saturated_pattern_is_seen_by_its_correction_alone():
    """Catches AtP* without the exact change of the pattern, and EAP with it."""
    plain, starred = induction_edges("eap"), induction_edges("atp_star")
    keys = plain.graph.number(THE_PATH[1])
    gap = plain.gap("key").sizes.mean()
    assert abs(plain.changes[0, keys].mean()) < 0.001 * gap
    assert starred.changes[0, keys].mean() > 0.1 * gap
    assert (starred.changes >= 0).all()


def test_rows_are_shares_of_the_gap():
    """Catches a mean of ratios, a row under another edge's name, and a gap too small to divide."""
    graph = Graph((Stage(None, ("logits",), (("", ("embedding",)),)),))
    runs = np.array([[0.9, 0.5], [0.1, 0.1], [0.9, 0.5]])
    changes = np.array([[[0.3, 0.0]], [[0.3, 0.0]]])
    evaluation = EvaluationConfig(documents=2, resamples=50)
    scores = EdgeScores("eap", "probability", evaluation, runs, graph, changes)
    of_key, of_value = edge_rows(scores)
    assert (of_key["sender"], of_key["reader"], of_key["port"]) == ("embedding", "logits", "")
    assert of_key["value"] == pytest.approx(0.3 / 1.2)
    assert of_key["low"] < 0 < 0.375 < of_key["high"]  # two documents tell little
    assert of_value["value"] is None
    assert of_value["documents"] == 2
    # A mean of sizes is above 0 whatever the edge does.
    of_size, _ = edge_rows(dataclasses.replace(scores, method="atp_star"))
    assert of_size["p_value"] is None
    assert of_key["p_value"] is not None


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: score_edges(example(), "epa"), r"did you mean 'eap'"),
        (lambda: CircuitsConfig(measure="loss"), r"unknown analyses.circuits.measure 'loss'"),
        (lambda: CircuitsConfig(steps=0), r"analyses.circuits.steps is 0"),
        (
            lambda: score_edges(example(), "eap", CircuitsConfig(ports=("dt",))),
            r"port 'dt': no mixer",
        ),
    ],
)
def test_mistakes_are_named(ask, message):
    """Catches a request that is silently something else."""
    with pytest.raises(UserError, match=message):
        ask()


def test_every_method_has_scores():
    """Catches a method that a config cannot name."""
    assert tuple(METHODS) == EDGE_METHODS
