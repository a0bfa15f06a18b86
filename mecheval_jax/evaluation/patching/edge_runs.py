"""Runs of a model in which every edge of its graph may carry another value.

The nodes are computed by the model's own modules. A node that is read as a whole is the block run
on the node's own residual stream, of which the compiler drops all but the node. For a node with
ports the block is run on the stream of each port, up to the site of that port, and then with all
these sites held. What a head contributes is the mixer's output with the other heads at zero, and
an equal part of its output with all of them at zero (a bias).

A `Flow` tells what edges carry. With s the output of the sender in this run, and o and c its
outputs in the clean and the corrupted run, an edge carries

    Flow            s                   the model's own run
    RestoredFlow    s + t (o - c)       t = 1 restores the edge, t = 0 does not
    CircuitFlow     s if it is in the circuit, else c
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import jax
import jax.numpy as jnp
import numpy as np

from mecheval_jax.array_types import Array, Bool, Float, Int, PyTree
from mecheval_jax.evaluation.patching.graph import EMBEDDING, WHOLE, Graph, Stage, is_inside
from mecheval_jax.evaluation.patching.ports import REST
from mecheval_jax.evaluation.question import Question
from mecheval_jax.interventions.capture import Activations, observe_block
from mecheval_jax.interventions.patch import pin
from mecheval_jax.models.language_model import LanguageModel
from mecheval_jax.ops.mapping import for_each
from mecheval_jax.ops.positions import at_positions
from mecheval_jax.site_path import SitePath, in_mixer

Sent = dict[str, Array]
"""Output of every node [documents, length, ...]; of length 1 if known at the query alone."""

Edges = Int[np.ndarray, "readers senders"]
"""Indices of the edges from some nodes to each of some readers."""

Stack = Callable[[Sent], Float[Array, "senders documents length ..."]]
"""Outputs of the nodes that send, of those of all nodes of a run."""

Carried = Float[Array, "readers documents length ..."]
"""Sum of what the edges from all senders carry to each reader."""

NO_TILTS: Mapping[int, Array] = MappingProxyType({})


class Flow:
    """What edges carry: what their senders send."""

    def read(self, edges: Edges, sent: Sent, stack: Stack) -> Carried:
        """What edges carry in a run of which the outputs of earlier nodes are known."""
        total = stack(sent).sum(axis=0)
        return jnp.broadcast_to(total[None], (len(edges), *total.shape))

    def send(self, layer: int, output: Array) -> Array:
        """What readers get of the output of a node of a layer."""
        del layer
        return output


@dataclasses.dataclass(frozen=True, eq=False)
class RestoredFlow(Flow):
    """Edges that carry more or less of the difference of the clean from the corrupted run.

    Attributes:
        clean: Outputs of all nodes in the clean run.
        corrupted: Outputs of all nodes in the corrupted run.
        degrees: Degree t to which each edge of each document is restored.
        passing: Share of the gradient that passes through the nodes of each layer; all if None.
    """

    clean: Sent
    corrupted: Sent
    degrees: Float[Array, "edges documents"]
    passing: Float[Array, " layers"] | None = None

    def read(self, edges: Edges, sent: Sent, stack: Stack) -> Carried:
        """See `Flow.read`."""
        clean, corrupted = stack(self.clean), stack(self.corrupted)
        degrees = self.degrees[edges].astype(clean.dtype)
        change = jnp.einsum("rsd,sd...->rd...", degrees, clean - corrupted)
        return super().read(edges, sent, stack) + change

    def send(self, layer: int, output: Array) -> Array:
        """See `Flow.send`."""
        if self.passing is None:
            return output
        held = jax.lax.stop_gradient(output)
        return held + self.passing[layer].astype(output.dtype) * (output - held)


@dataclasses.dataclass(frozen=True, eq=False)
class CircuitFlow(Flow):
    """Edges outside the circuit carry what their senders send in the corrupted run.

    Attributes:
        corrupted: Outputs of all nodes in the corrupted run.
        mask: Whether each edge is in the circuit.
    """

    corrupted: Sent
    mask: Bool[Array, " edges"]

    def read(self, edges: Edges, sent: Sent, stack: Stack) -> Carried:
        """See `Flow.read`."""
        live, corrupted = stack(sent), stack(self.corrupted)
        inside = self.mask[edges].astype(live.dtype)
        change = jnp.einsum("rs,s...->r...", inside, live - corrupted)
        return corrupted.sum(axis=0)[None] + change


def run_graph(
    question: Question,
    graph: Graph,
    flow: Flow,
    sent: Sent,
    first: int = 0,
    tilts: Mapping[int, Array] = NO_TILTS,
) -> tuple[Float[Array, "documents 1 vocabulary"], Sent]:
    """Logits at query 0 of a run, and the outputs of all its nodes. Pure and traceable.

    Args:
        question: Model, and the documents that are answered.
        graph: Graph of the model.
        flow: What edges carry.
        sent: Outputs of the nodes of all earlier stages, at least the embedding.
        first: Index of the first stage that is run; nothing before it is computed.
        tilts: Terms added to patterns of attention, by stage; see `stage_outputs`.
    """
    sent = dict(sent)
    for number in range(first, len(graph.stages) - 1):
        stage = graph.stages[number]
        outputs = stage_outputs(question, graph, number, flow, sent, tilts.get(number))[0]
        sent |= {
            node: flow.send(stage.layer, output)
            for node, output in zip(stage.nodes, outputs, strict=True)
        }
    ((_, senders),) = graph.stages[-1].senders
    stack = functools.partial(_stack, senders, question.query)
    (stream,) = flow.read(graph.numbers[-1][WHOLE], sent, stack)
    last = SitePath(question.model.config.layers - 1, "block_output").path
    stream = stream if stream.shape[1] == 1 else at_positions(stream, question.query)
    unread = jnp.zeros(sent[EMBEDDING].shape[:2], jnp.int32)  # all before the patch is dropped
    return question.run(unread, pin({last: stream}, last)), sent


def stage_outputs(
    question: Question,
    graph: Graph,
    number: int,
    flow: Flow,
    sent: Sent,
    tilt: Float[Array, "nodes documents reading source"] | None = None,
) -> tuple[Float[Array, "nodes documents length ..."], Float[Array, "nodes ..."] | None]:
    """Outputs of the nodes of a stage, and of heads of attention their patterns.

    Args:
        question: Model and documents.
        graph: Graph of the model.
        number: Index of the stage, which is not that of the logits.
        flow: What edges carry.
        sent: Outputs of all earlier nodes.
        tilt: Term added to the pattern of each head.
    """
    stage = graph.stages[number]
    given = {
        port: _given(question, graph.numbers[number][port], flow, sent, senders)
        for port, senders in stage.senders
    }
    if WHOLE in given:
        return for_each(lambda each: _output(question, stage, *each), given[WHOLE]), None
    at_port = {
        site: for_each(lambda each, s=site: _block(question, stage.layer, *each, s), given[port])
        for port, site in ((port, in_mixer(stage.layer, port)) for port in given)
        if port != REST
    }
    # What is left over is read by the mixer as it runs, at all ports held.
    rest, inside = given.get(REST, (None, {}))
    if rest is None:
        rest = jnp.zeros((len(stage.nodes), *sent[EMBEDDING].shape), sent[EMBEDDING].dtype)
    nodes = (jnp.arange(len(stage.nodes)), rest, at_port | inside, tilt)
    return for_each(lambda each: _node(question, stage, *each), nodes)


def _given(
    question: Question, edges: Edges, flow: Flow, sent: Sent, senders: tuple[str, ...]
) -> tuple[Array, dict[str, Array]]:
    """For each reader its residual stream, and the outputs of nodes inside its mixer."""

    def read(chosen: list[int]) -> Carried:
        stack = functools.partial(_stack, [senders[i] for i in chosen], question.query)
        return flow.read(edges[:, chosen], sent, stack)

    added = [i for i, sender in enumerate(senders) if not is_inside(sender)]
    nothing = jnp.zeros((len(edges), *sent[EMBEDDING].shape), sent[EMBEDDING].dtype)
    inside = {sender: read([i]) for i, sender in enumerate(senders) if is_inside(sender)}
    return read(added) if added else nothing, inside


def _stack(
    names: Sequence[str], query: Int[Array, "documents 1"], sent: Sent
) -> Float[Array, "senders documents length ..."]:
    """Outputs of some nodes; at the query alone if one of them is known only there."""
    found = [sent[name] for name in names]
    if any(output.shape[1] == 1 for output in found):
        found = [x if x.shape[1] == 1 else at_positions(x, query) for x in found]
    return jnp.stack(found)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _observed(
    model: LanguageModel,
    layer: int,
    params: PyTree,
    stream: Array,
    held: Activations,
    positions: Array | None,
) -> Activations:
    """All sites of a block. Jitted so that it is traced once, however many nodes it computes."""
    return observe_block(model, params, layer, stream, pin(held, held), positions)


def _asked(question: Question, layer: int, stream: Array) -> Array | None:
    """The query, which is all that the last block computes of a whole stream; else None."""
    last = layer == question.model.config.layers - 1 and stream.shape[1] > 1
    return question.query if last else None


def _block(question: Question, layer: int, stream: Array, held: Activations, site: str) -> Array:
    """A site of a block on a residual stream, with other sites held."""
    positions = _asked(question, layer, stream)
    return _observed(question.model, layer, question.params, stream, held, positions)[site]


def _output(question: Question, stage: Stage, stream: Array, inside: Activations) -> Array:
    """The output of a node that is read as a whole."""
    (node,), site = stage.nodes, SitePath.parse(stage.nodes[0])
    held = dict(inside)
    if site.component == "mlp_output":
        # The MLP reads the stream alone, whether or not its block is a parallel one.
        query = _asked(question, stage.layer, stream)
        whole = query is None or question.model.config.block(stage.layer).reads_neighbours
        reads = stream if whole else at_positions(stream, query)
        held[site.beside("mixer_output").path] = jnp.zeros_like(reads)
    return _block(question, stage.layer, stream, held, node)


def _node(
    question: Question,
    stage: Stage,
    head: Int[Array, ""],
    stream: Array,
    held: Activations,
    tilt: Array | None,
) -> tuple[Array, Array | None]:
    """The output of a node with ports, all of which are held, and the pattern of its head."""
    layer, heads = stage.layer, len(stage.nodes)
    output = SitePath(layer, "mixer_output").path
    read, pattern = (in_mixer(layer, name) for name in ("head_output", "pattern"))
    positions = _asked(question, layer, stream)

    def observe(held: Activations) -> Activations:
        return _observed(question.model, layer, question.params, stream, held, positions)

    seen = observe(held)
    weights = seen[pattern][:, :, head] if pattern in seen else None
    own = jnp.arange(heads)[:, None] == head
    if tilt is not None:
        held = held | {pattern: seen[pattern] + jnp.where(own, tilt[:, :, None], 0)}
        seen = observe(held)
    if heads == 1:
        return seen[output], weights
    alone = jnp.where(own, seen[read], 0)
    nothing = observe(held | {read: jnp.zeros_like(alone)})[output]
    return observe(held | {read: alone})[output] - nothing * (1 - 1 / heads), weights
