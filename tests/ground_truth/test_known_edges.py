"""Known edges: the weights carry them, and the circuit of them is the whole mechanism."""

import functools

import numpy as np
import pytest

from mecheval_jax.evaluation.config import EvaluationConfig
from mecheval_jax.evaluation.patching.circuits import run_circuits
from mecheval_jax.evaluation.patching.graph import graph_of
from mecheval_jax.ground_truth.known_edges import KNOWN, planted_subspace
from tests.support import planted

EVALUATION = EvaluationConfig(documents=16, corruptions=("key",), resamples=50)


@functools.cache
def subject_of(kind):
    model = KNOWN[kind].build(0)
    return planted.subject_of(model, planted.documents(model[2], 16), EVALUATION)


@pytest.mark.parametrize("kind", KNOWN)
def test_the_known_edges_are_the_mechanism(kind):
    """Catches an edge too many, which could be left out, and one that is missing."""
    subject = subject_of(kind)
    graph = graph_of(subject.config)
    known = [graph.number(edge) for edge in KNOWN[kind].edges(subject.config)]
    masks = np.zeros((1, 1 + len(known), len(graph.edges)), bool)
    masks[0][:, known] = True
    masks[0][1 + np.arange(len(known)), known] = False  # each without one of them
    (clean, corrupted), ((whole, *lacking),) = run_circuits(subject, graph, masks, "probability")
    gap = (clean - corrupted).mean()
    assert gap > 0.5
    assert (whole - corrupted).mean() > 0.98 * gap
    assert all((found - corrupted).mean() < 0.1 * gap for found in lacking)


@pytest.mark.parametrize("kind", KNOWN)
def test_every_model_has_its_known_edges(kind):
    """Catches the name of a node or a port that the graph does not have."""
    config, _, _ = KNOWN[kind].build(0)
    graph = graph_of(config)
    edges = KNOWN[kind].edges(config)
    assert 0 < len({graph.number(edge) for edge in edges}) == len(edges) < len(graph.edges)


def test_the_planted_subspace_is_what_layer_0_writes():
    """Catches directions of the wrong tokens, and of another model's."""
    there = planted_subspace(0)
    assert there.shape == (64, 8)
    _, params, task = planted.induction(0)
    key = list(task.classes["k"])[3]
    word = np.asarray(params["token_embedding"]["embedding"][key], np.float64)
    mixer = params["block_0"]["mixer"]
    written = word @ np.asarray(mixer["v_proj"]["kernel"]) @ np.asarray(mixer["out_proj"]["kernel"])
    inside = there @ (there.T @ written)
    np.testing.assert_allclose(inside, written, atol=1e-5)
    assert np.abs(there.T @ word).max() < 1e-5
