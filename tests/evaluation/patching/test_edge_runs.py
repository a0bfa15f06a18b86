"""Runs over edges: the graph computes what the model does, and gradients pass where they may."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.evaluation.config import EvaluationConfig
from mecheval_jax.evaluation.patching.edge_runs import Flow, RestoredFlow, run_graph
from mecheval_jax.evaluation.patching.graph import EMBEDDING, graph_of
from mecheval_jax.evaluation.question import Question
from mecheval_jax.interventions.capture import observe
from tests.support import planted

DOCUMENTS = 4
EVALUATION = EvaluationConfig(documents=DOCUMENTS, corruptions=("key",), resamples=50)


def example(mixer, **options):
    return planted.lively_subject(mixer, EVALUATION, **options)


HEADS = {"mixer_options": {"heads": 2}}
MODELS = {
    "wholes, with a Mamba block": ("none", {"mixer": "delta_net,mamba", "canon": 2}),
    "wholes, parallel": ("none", {"mixer": "h3,lstm", "feed_forward": "glu", "parallel": True}),
    "heads that add up": (
        "auto",
        {"mixer": "mesa_net,taylor_attention,gated_delta_net", "layers": 3, **HEADS},
    ),
    "heads beside a skip": ("auto", {"mixer": "rwkv7,mlstm", **HEADS}),
    "convolutions": ("auto", {"mixer": "base_conv,mamba", "canon": 2}),
    "convolutions after the mixer": ("auto", {"mixer": "attention", "canon": 2, "canon_at": "CD"}),
    "an MLP with a shift": ("none", {"mixer": "attention", "feed_forward": "channel_mix"}),
    "heads read at the query": ("auto", {"mixer": "h3,gated_attention", **HEADS}),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_graph_is_the_model(name):
    """Catches a part of a block that the graph leaves out or counts twice, such as a bias."""
    ports, options = MODELS[name]
    subject = example(options["mixer"], **{k: v for k, v in options.items() if k != "mixer"})
    model, params, batch = subject.model, subject.params, subject.batch
    graph = graph_of(subject.config, (ports,))

    @jax.jit
    def both(params, tokens):
        question = Question(model, params, batch)
        logits, activations = observe(model, params, tokens, positions=question.query)
        start = {EMBEDDING: activations[EMBEDDING]}
        return run_graph(question, graph, Flow(), start)[0], logits

    ours, expected = both(params, batch.tokens)
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=2e-4)


def test_gradients_through_a_dropped_layer():
    """Catches a gradient that passes through a layer that is dropped, or stops elsewhere."""
    subject = example("attention", feed_forward="none")
    graph = graph_of(subject.config)
    width, edges = subject.config.width, len(graph.edges)
    draw = np.random.default_rng(0)

    @jax.jit
    def slopes(params, passing):
        question = Question(subject.model, params, subject.batch)
        shape = (DOCUMENTS, subject.batch.tokens.shape[1], width)
        ends = [
            {node: jnp.asarray(draw.normal(size=shape), jnp.float32) for node in graph.senders}
            for _ in range(2)
        ]
        ends = [
            {n: x[:, :1] if n == "block_1/mixer_output" else x for n, x in e.items()} for e in ends
        ]

        def answer(degrees):
            flow = RestoredFlow(*ends, degrees, passing)
            logits, _ = run_graph(question, graph, flow, {EMBEDDING: ends[0][EMBEDDING]})
            return question.answers(logits)["logit"].sum()

        return jax.grad(answer)(jnp.zeros((edges, DOCUMENTS)))

    for dropped in range(2):
        found = np.asarray(slopes(subject.params, jnp.ones(2).at[dropped].set(0)))
        through = {
            edge.reader for edge, slope in zip(graph.edges, found, strict=True) if slope.any()
        }
        assert through == {f"block_{1 - dropped}/mixer_output", "logits"}
