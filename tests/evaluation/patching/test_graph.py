"""The graph of a model: its nodes, its ports and its edges."""

import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.patching.graph import LOGITS, Edge, graph_of
from tests.support import planted

WHOLE = ("none",)


def senders(graph, reader, port=""):
    return [e.sender for e in graph.edges if (e.reader, e.port) == (reader, port)]


def test_the_edges_of_mixers_as_wholes():
    """Catches a reader that stands before its sender, and an inner node that is forgotten."""
    sequential = graph_of(planted.shape_of("attention"), WHOLE)
    assert sequential.nodes[1:3] == ("block_0/mixer_output", "block_0/mlp_output")
    assert senders(sequential, "block_0/mlp_output") == ["embedding", "block_0/mixer_output"]
    assert len(sequential.edges) == 1 + 2 + 3 + 4 + 5
    parallel = graph_of(planted.shape_of("attention", parallel=True), WHOLE)
    assert senders(parallel, "block_0/mlp_output") == ["embedding"]
    mamba = graph_of(planted.shape_of("mamba"), WHOLE)
    conv, ssm = ("block_1/mixer/conv_output", "block_1/mixer/ssm_output")
    stream = ["embedding", "block_0/mixer_output"]
    assert senders(mamba, conv) == stream
    assert senders(mamba, ssm) == [*stream, conv]
    assert senders(mamba, "block_1/mixer_output") == [*stream, conv, ssm]
    assert senders(mamba, LOGITS) == [*stream, "block_1/mixer_output"]
    assert "block_1/mixer/state" in graph_of(planted.shape_of("lstm"), WHOLE).nodes


def test_the_edges_of_heads_and_ports():
    """Catches heads that read one another, and a port that hears the wrong nodes."""
    graph = graph_of(planted.shape_of("attention,mamba", mixer_options={"heads": 2}))
    first, second = (f"block_0/mixer/head_{head}" for head in range(2))
    for head in (first, second):
        assert [senders(graph, head, port) for port in "qkv"] == [["embedding"]] * 3
    stream = ["embedding", first, second, "block_0/mlp_output"]
    assert senders(graph, "block_0/mlp_output") == stream[:3]
    assert senders(graph, "block_1/mixer/conv_output") == stream
    mamba = "block_1/mixer_output"
    assert senders(graph, mamba, "gate") == stream
    for port in ("x", "B", "C", "dt"):
        assert senders(graph, mamba, port) == ["block_1/mixer/conv_output"]
    assert senders(graph, LOGITS) == [*stream, mamba]
    for number, edge in enumerate(graph.edges):
        assert graph.number(edge) == number
    assert str(Edge("embedding", first, "q")) == f"embedding -> {first} (q)"


def test_edges_of_another_model_are_refused():
    """Catches an edge that is taken for another."""
    graph = graph_of(planted.shape_of("attention", layers=1))
    with pytest.raises(UserError, match=r"no edge .*\(dt\): that node is entered at k, q, v"):
        graph.number(Edge("embedding", "block_0/mixer_output", "dt"))
    with pytest.raises(UserError, match=r"no edge .*: no such node reads"):
        graph.number(Edge("embedding", "block_7/mixer_output"))


def test_layers_that_read_past_the_stream_are_refused():
    """Catches a graph that lacks what RWKV-7's first layer hands on to the later ones."""
    with pytest.raises(UserError, match="rwkv7 has no graph of edges"):
        graph_of(planted.shape_of("rwkv7"))
    graph_of(planted.shape_of("rwkv7,attention"))
