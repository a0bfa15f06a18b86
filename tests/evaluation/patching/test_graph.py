"""The graph of a model: its edges, and that it computes what the model does."""

import functools

import jax
import numpy as np
import pytest

from mecheval_jax.evaluation.config import EvaluationConfig
from mecheval_jax.evaluation.patching.graph import evaluate, graph_of
from mecheval_jax.evaluation.question import Question
from mecheval_jax.interventions.capture import observe
from tests.support import planted

DOCUMENTS = 6
TASK = planted.task_with(min_pairs=2)
EVALUATION = EvaluationConfig(documents=DOCUMENTS, corruptions=("key",), resamples=50)


@functools.cache
def example(mixer="attention", **options):
    config, params, _ = planted.lively(mixer, **options)
    batch = planted.documents(TASK, DOCUMENTS, 1)
    return planted.subject_of((config, params, TASK), batch, EVALUATION)


ARCHITECTURES = {
    "with a Mamba block": {"mixer": "delta_net,mamba", "canon": 2},
    "parallel": {"mixer": "h3,lstm", "feed_forward": "glu", "parallel": True},
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_graph_is_the_model(name):
    """Catches a part of a block that the graph leaves out, in any kind of block."""
    subject = example(**ARCHITECTURES[name])
    model, params, batch = subject.model, subject.params, subject.batch
    graph = graph_of(subject.config)

    @jax.jit
    def both(params, tokens):
        question = Question(model, params, batch)
        logits, activations = observe(model, params, tokens, positions=question.query)
        keep = lambda edge, value: value
        return evaluate(question, graph, activations["embedding"], keep), logits

    ours, expected = both(params, batch.tokens)
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-4)


def test_the_edges_of_every_kind_of_block():
    """Catches a reader that stands before its sender, and an inner node that is forgotten."""
    pairs = lambda graph, reader: [e.sender for e in graph.edges if e.reader == reader]
    sequential = graph_of(example().config)
    assert sequential.nodes[1:3] == ("block_0/mixer_output", "block_0/mlp_output")
    assert pairs(sequential, "block_0/mlp_output") == ["embedding", "block_0/mixer_output"]
    assert len(sequential.edges) == 1 + 2 + 3 + 4 + 5
    parallel = graph_of(example("attention", parallel=True).config)
    assert pairs(parallel, "block_0/mlp_output") == ["embedding"]
    mamba = graph_of(example("mamba").config)
    conv, ssm = ("block_1/mixer/conv_output", "block_1/mixer/ssm_output")
    stream = ["embedding", "block_0/mixer_output"]
    assert pairs(mamba, conv) == stream
    assert pairs(mamba, ssm) == [*stream, conv]
    assert pairs(mamba, "block_1/mixer_output") == [*stream, conv, ssm]
    assert pairs(mamba, "logits") == [*stream, "block_1/mixer_output"]
    assert "block_1/mixer/state" in graph_of(planted.shape_of("lstm")).nodes
