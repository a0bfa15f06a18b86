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


ALSO_CARRIES = {
    # Where the replacement is the asked key, the first hop finds two values, and goes wrong.
    "compiled two hops": {
        "block_1/mixer_output -> block_2/mixer_output (k)",
        "block_2/mixer_output -> block_3/mixer_output (q)",
    }
}
"""Edges that carry something in a few documents, beside the known ones."""

OF_ONE_PAIR = "direct retrieval"
"""Kind in which heads of its own read each pair: without one the others are answered."""


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
    also = [n for n, edge in enumerate(graph.edges) if str(edge) in ALSO_CARRIES.get(kind, ())]
    masks = np.zeros((1, 1 + len(known), len(graph.edges)), bool)
    masks[0][:, known + also] = True
    masks[0][1 + np.arange(len(known)), known] = False  # each without one of them
    (clean, corrupted), ((whole, *lacking),) = run_circuits(subject, graph, masks, "probability")
    gap = (clean - corrupted).mean()
    assert gap > 0.5
    assert (whole - corrupted).mean() > 0.98 * gap
    most = 0.9 if kind == OF_ONE_PAIR else 0.1
    assert all((found - corrupted).mean() < most * gap for found in lacking)


@pytest.mark.parametrize("kind", KNOWN)
def test_the_known_edges_follow_from_the_weights(kind):
    """Catches a known edge that carries nothing, and another one without which something is lost.

    Each edge alone is taken from the whole model, whose weights then tell what it carried.
    """
    subject = subject_of(kind)
    graph = graph_of(subject.config)
    masks = ~np.eye(len(graph.edges), dtype=bool)[None]
    (clean, corrupted), (lacking,) = run_circuits(subject, graph, masks, "logit")
    lost = (clean[None] - lacking).mean(axis=1) / (clean - corrupted).mean()
    carries = {str(graph.edges[number]) for number in np.flatnonzero(np.abs(lost) > 0.01)}
    known = {str(edge) for edge in KNOWN[kind].edges(subject.config)}
    assert carries - ALSO_CARRIES.get(kind, set()) == known


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
