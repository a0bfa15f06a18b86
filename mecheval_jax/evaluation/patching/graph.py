"""A model as a graph: the writers of the residual stream, its readers, and the edges between them.

    reader's input at a port = sum of the outputs of the senders before it

Senders are the embedding, every mixer and every MLP; readers are every mixer, every MLP and the
logits. A mixer whose heads add up (`sites.heads_of`) is a node for each of them, and is entered at
its ports (`ports`): an edge is what one sender contributes to, say, the keys of one head. If a
mixer has a convolution, its output is a node inside, read by those ports that depend on it.
Without ports an edge enters a mixer as a whole, heads are not told apart, and a state is a node
inside as well.

A node is named by the site of its output, a head by `site_path.head_node`.
"""

import dataclasses
import functools

import numpy as np

from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.patching.ports import (
    AUTO,
    CONVOLUTIONS,
    Port,
    chosen_ports,
    convolution_of,
)
from mecheval_jax.interventions.addresses import site_paths
from mecheval_jax.interventions.capture import handed_on
from mecheval_jax.models.language_model import ModelConfig
from mecheval_jax.site_path import SitePath, head_node, in_mixer
from mecheval_jax.sites import heads_of

EMBEDDING = "embedding"
LOGITS = "logits"
WHOLE = ""
"""Port of a node that edges enter as a whole."""

STATES = ("ssm_output", "state")
"""Sites of a recurrence: the output read from its state or, without such a site, the state."""


@dataclasses.dataclass(frozen=True)
class Edge:
    """An output of one node as part of the input of another.

    Attributes:
        sender: Node that sends.
        reader: Node that reads.
        port: Site of the reader's mixer at which the edge enters it, ``rest``, or `WHOLE`.
    """

    sender: str
    reader: str
    port: str = WHOLE

    def __str__(self) -> str:
        return f"{self.sender} -> {self.reader}{f' ({self.port})' if self.port else ''}"


@dataclasses.dataclass(frozen=True)
class Stage:
    """Nodes that are computed together: a single one, or the heads of a mixer.

    Attributes:
        layer: Index of the block; None for the logits.
        nodes: Names of the nodes.
        senders: Nodes that each of them reads, by port.
    """

    layer: int | None
    nodes: tuple[str, ...]
    senders: tuple[tuple[str, tuple[str, ...]], ...]


@dataclasses.dataclass(frozen=True)
class Graph:
    """Nodes and edges in the order of the computation.

    Attributes:
        stages: All nodes after the embedding; the last stage is the logits.
    """

    stages: tuple[Stage, ...]

    @functools.cached_property
    def nodes(self) -> tuple[str, ...]:
        """The embedding and the nodes of all stages; the last is the logits."""
        return (EMBEDDING, *(node for stage in self.stages for node in stage.nodes))

    @property
    def senders(self) -> tuple[str, ...]:
        """All nodes except the logits."""
        return self.nodes[:-1]

    @functools.cached_property
    def edges(self) -> tuple[Edge, ...]:
        """All edges: by stage, port, reader and sender."""
        return tuple(
            Edge(sender, node, port)
            for stage in self.stages
            for port, senders in stage.senders
            for node in stage.nodes
            for sender in senders
        )

    @functools.cached_property
    def numbers(self) -> tuple[dict[str, np.ndarray], ...]:
        """For every stage the indices [node, sender] of the edges into each of its ports."""
        found, first = [], 0
        for stage in self.stages:
            ports = {}
            for port, senders in stage.senders:
                shape = (len(stage.nodes), len(senders))
                ports[port] = first + np.arange(np.prod(shape, dtype=int)).reshape(shape)
                first += ports[port].size
            found.append(ports)
        return tuple(found)

    def number(self, edge: Edge) -> int:
        """Index of an edge.

        Raises:
            UserError: If the graph has no such edge.
        """
        if edge not in self._known:
            ports = sorted({each.port for each in self.edges if each.reader == edge.reader})
            told = f"that node is entered at {', '.join(ports)}" if ports else "no such node reads"
            raise UserError(f"the model has no edge {edge}: {told}")
        return self._known[edge]

    @functools.cached_property
    def _known(self) -> dict[Edge, int]:
        return {edge: number for number, edge in enumerate(self.edges)}


def is_inside(node: str) -> bool:
    """Whether a node is the convolution or the state of a mixer, which that mixer alone reads."""
    return SitePath.parse(node).name in (*CONVOLUTIONS, *STATES)


def graph_of(config: ModelConfig, ports: tuple[str, ...] = (AUTO,)) -> Graph:
    """The graph of a model.

    Args:
        config: Shape of the model.
        ports: Ports as in `ports.chosen_ports`.

    Raises:
        UserError: If no mixer of the model has one of the ports, or layers read something past
            the residual stream, for which there is no edge.
    """
    if any(handed_on(config, layer) for layer in range(config.layers)):
        raise UserError(
            f"{config.mixer} has no graph of edges: its layers mix in values that the first hands "
            "on past the residual stream"
        )
    stream, stages = [EMBEDDING], []
    for layer, entered in enumerate(chosen_ports(config, ports)):
        block, before = config.block(layer), tuple(stream)
        mixers = (
            _entered(config, layer, entered, before) if entered else _whole(config, layer, before)
        )
        stages += mixers
        stream += mixers[-1].nodes
        if "mlp_output" in block.components:
            mlp = SitePath(layer, "mlp_output").path
            stages.append(_single(layer, mlp, before if block.parallel else tuple(stream)))
            stream.append(mlp)
    return Graph((*stages, _single(None, LOGITS, tuple(stream))))


def _single(layer: int | None, node: str, senders: tuple[str, ...]) -> Stage:
    return Stage(layer, (node,), ((WHOLE, senders),))


def _entered(
    config: ModelConfig, layer: int, ports: tuple[Port, ...], before: tuple[str, ...]
) -> list[Stage]:
    """A mixer that is entered at ports: its convolution, if it has one, and its heads."""
    convolution, heads = convolution_of(config, layer), heads_of(config.build_mixer(layer))
    inside = (convolution,) if convolution else ()
    nodes = (SitePath(layer, "mixer_output").path,)
    if heads > 1:
        nodes = tuple(head_node(layer, head) for head in range(heads))
    senders = tuple(
        (port.name, before * port.reads_stream + inside * port.reads_convolution) for port in ports
    )
    return [*(_single(layer, node, before) for node in inside), Stage(layer, nodes, senders)]


def _whole(config: ModelConfig, layer: int, before: tuple[str, ...]) -> list[Stage]:
    """A mixer as a whole, with its convolution and its state as nodes inside."""
    state = (in_mixer(layer, name) for name in STATES)
    found = next((path for path in state if path in site_paths(config)), None)
    inside = [path for path in (convolution_of(config, layer), found) if path is not None]
    nodes = [*inside, SitePath(layer, "mixer_output").path]
    return [_single(layer, node, (*before, *inside[:i])) for i, node in enumerate(nodes)]
