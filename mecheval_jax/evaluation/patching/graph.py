"""A model as a graph: the writers of the residual stream, and its readers.

    reader's input = sum of the outputs of the senders before it

Senders are the embedding, every mixer and every MLP; readers are every mixer, every MLP and
the logits. A mixer has further nodes inside if it has a convolution or a state: these read
the residual stream as the mixer does, and their outputs are read by the later nodes of the same
mixer. An edge is one summand of the residual stream, or one such reading. On every edge the
reader can be given another value than the sender's output, from which circuits are made
(`circuits`).

A node is named by the site of its output. It is computed by the model's own modules: the block
runs on the reader's own residual stream, and the compiler drops all but the node.
"""

import dataclasses
import functools
from collections.abc import Callable

import jax.numpy as jnp

from mecheval_jax.array_types import Array, Float, Int
from mecheval_jax.evaluation.question import Question
from mecheval_jax.interventions.addresses import site_paths
from mecheval_jax.interventions.capture import observe_block
from mecheval_jax.interventions.patch import compose, pin
from mecheval_jax.models.language_model import ModelConfig
from mecheval_jax.ops.positions import at_positions
from mecheval_jax.site_path import SitePath, in_mixer

EMBEDDING = "embedding"
LOGITS = "logits"
CONVOLUTIONS = ("conv_output", "shift_output", "filter_output")
"""Sites inside a mixer that hold a convolution's output; the first that it has is a node."""
STATES = ("ssm_output", "state")
"""Sites of a recurrence: the output read from its state or, without such a site, the state."""


@dataclasses.dataclass(frozen=True)
class Edge:
    """An output of one node as part of the input of another; both are named by their sites."""

    sender: str
    reader: str


@dataclasses.dataclass(frozen=True)
class Graph:
    """Nodes and edges in the order of the computation; the last node is the logits."""

    nodes: tuple[str, ...]
    edges: tuple[Edge, ...]

    @property
    def senders(self) -> tuple[str, ...]:
        """All nodes except the logits."""
        return self.nodes[:-1]


def graph_of(config: ModelConfig) -> Graph:
    """The graph of a model."""
    stream, nodes, edges = [EMBEDDING], [EMBEDDING], []
    for layer in range(config.layers):
        block = config.block(layer)
        mixer, mlp = (SitePath(layer, name).path for name in ("mixer_output", "mlp_output"))
        before, inside = tuple(stream), _inside(config, layer)
        for i, node in enumerate((*inside, mixer)):
            nodes.append(node)
            edges += [Edge(sender, node) for sender in (*before, *inside[:i])]
        stream.append(mixer)
        if "mlp_output" in block.components:
            nodes.append(mlp)
            edges += [Edge(sender, mlp) for sender in (before if block.parallel else stream)]
            stream.append(mlp)
    edges += [Edge(sender, LOGITS) for sender in stream]
    return Graph((*nodes, LOGITS), tuple(edges))


def _inside(config: ModelConfig, layer: int) -> tuple[str, ...]:
    """The convolution and the state of a mixer, if it has them."""
    paths = set(site_paths(config))
    candidates = ([in_mixer(layer, name) for name in names] for names in (CONVOLUTIONS, STATES))
    found = (next((path for path in group if path in paths), None) for group in candidates)
    return tuple(path for path in found if path is not None)


Receive = Callable[[int, Array], Array]
"""(index of an edge, output of its sender) -> value that its reader is given."""


def evaluate(
    question: Question,
    graph: Graph,
    embedding: Float[Array, "documents length width"],
    receive: Receive,
) -> Float[Array, "documents 1 vocabulary"]:
    """Logits at query 0 of a run in which every edge may carry another value.

    Pure and traceable. ``receive = lambda edge, value: value`` gives the model's own logits.

    Args:
        question: Model, and the documents that are answered.
        graph: Graph of the model.
        embedding: Activation that the embedding node sends.
        receive: Function that gives the value that the reader of an edge is given.
    """
    sent = {EMBEDDING: embedding}
    for node in graph.nodes[1:-1]:
        sent[node] = _output(question, node, _given(graph, node, sent, receive))
    last = SitePath(question.model.config.layers - 1, "block_output").path
    stream = _sum(_given(graph, LOGITS, sent, receive), question.query)
    unread = jnp.zeros(embedding.shape[:2], jnp.int32)  # all before the patch is dropped
    return question.run(unread, pin({last: stream}, last))


def _given(graph: Graph, node: str, sent: dict[str, Array], receive: Receive) -> dict[str, Array]:
    """The inputs of a node, by sender."""
    return {
        edge.sender: receive(index, sent[edge.sender])
        for index, edge in enumerate(graph.edges)
        if edge.reader == node
    }


def _sum(parts: dict[str, Array], query: Int[Array, "documents 1"]) -> Array:
    """The residual stream; at the query alone if one of its parts is known only there."""
    found = list(parts.values())
    if any(part.shape[1] == 1 for part in found):
        found = [part if part.shape[1] == 1 else at_positions(part, query) for part in found]
    return functools.reduce(jnp.add, found)


def _output(question: Question, node: str, given: dict[str, Array]) -> Array:
    """The output of a node of a block, from its residual stream and the nodes inside its mixer."""
    inside = {path: given.pop(path) for path in tuple(given) if SitePath.parse(path).in_mixer}
    stream, site = _sum(given, question.query), SitePath.parse(node)
    model, layer = question.model, site.layer
    at_query = layer == model.config.layers - 1 and stream.shape[1] > 1
    patch = pin(inside, inside)
    if site.component == "mlp_output":
        # The MLP reads the stream alone, whether or not its block is a parallel one.
        reads = at_positions(stream, question.query) if at_query else stream
        mixed = site.beside("mixer_output").path
        patch = compose(patch, pin({mixed: jnp.zeros_like(reads)}, mixed))
    positions = question.query if at_query else None
    return observe_block(model, question.params, layer, stream, patch, positions)[node]
