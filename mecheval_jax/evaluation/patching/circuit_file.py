"""Circuits as files: the edges of one, and the model and ports that it is of.

    {"mixer": "attention", "layers": 2, "ports": ["auto"], "graph": "5f0c...",
     "edges": [["embedding", "block_0/mixer_output", "v"], ...]}

``graph`` is the hash of all edges of the model. A file can be read for any model whose graph is the
same, whatever its width or its parameters.
"""

import os
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

from mecheval_jax.checksums import hash_of
from mecheval_jax.errors import UserError, expect
from mecheval_jax.evaluation.patching.graph import Edge, Graph, graph_of
from mecheval_jax.fields import between_commas
from mecheval_jax.files import check_file, damaged, read_json, write_json
from mecheval_jax.models.language_model import ModelConfig

PARTS = ("sender", "reader", "port")
FORM = {"mixer": str, "layers": int, "ports": [str], "graph": str, "edges": [[str]]}


def write_circuit(
    path: str | os.PathLike, config: ModelConfig, ports: tuple[str, ...], edges: Iterable[Edge]
) -> None:
    """Write the edges of a circuit.

    Args:
        path: Path of the file.
        config: Shape of the model.
        ports: Ports with which its graph was made; see `graph.graph_of`.
        edges: Edges of the circuit.

    Raises:
        UserError: If the model lacks one of the edges, or the file cannot be written.
    """
    expect("the config", config, ModelConfig, "a ModelConfig")
    check_file(pathlib.Path(path))
    graph, listed = graph_of(config, ports), list(edges)
    for edge in listed:
        expect("an edge", edge, Edge, "an Edge")
        graph.number(edge)
    rows = [[edge.sender, edge.reader, edge.port] for edge in listed]
    about = {"mixer": config.mixer, "layers": config.layers, "ports": list(ports)}
    about |= {"graph": _hash_of(graph)}
    write_json(pathlib.Path(path), about | {"edges": rows})


def read_circuit(path: str | os.PathLike, config: ModelConfig) -> tuple[Graph, tuple[Edge, ...]]:
    """The graph of a model, and the edges of a circuit that was written for one like it.

    Args:
        path: Path of the file.
        config: Shape of the model that the circuit is meant for.

    Raises:
        UserError: If there is no such file, it is damaged, or it is of another model.
    """
    path = pathlib.Path(path)
    found = read_json(path, FORM)
    for row in found["edges"]:
        if len(row) != len(PARTS):
            raise damaged(path, f"{row} is no edge, which has {', '.join(PARTS)}")
    try:
        return _graph_and_edges(found, config)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _graph_and_edges(
    found: Mapping[str, Any], config: ModelConfig
) -> tuple[Graph, tuple[Edge, ...]]:
    """The graph of a model, and the edges of the content of a file."""
    theirs, ours = (found["mixer"], found["layers"]), (config.mixer, config.layers)
    if theirs[1] != ours[1] or _by_layer(theirs[0], ours[1]) != _by_layer(*ours):
        raise UserError(
            f"this is a circuit of {theirs[1]} layers of {theirs[0]}: the model has {ours[1]} of "
            f"{ours[0]}"
        )
    graph = graph_of(config, tuple(found["ports"]))
    if _hash_of(graph) != found["graph"]:
        raise UserError(
            f"this is a circuit of another model of {theirs[1]} layers of {theirs[0]}, whose "
            "edges are not those of the model: its heads or feed-forward parts differ"
        )
    edges = tuple(Edge(*row) for row in found["edges"])
    for edge in edges:
        graph.number(edge)
    return graph, edges


def _by_layer(mixer: str, layers: int) -> list[str]:
    """The name of the mixer of each layer, whether one was given for all or one for each."""
    names = between_commas(mixer)
    return names * layers if len(names) == 1 else names


def _hash_of(graph: Graph) -> str:
    return hash_of([str(edge) for edge in graph.edges])
