"""Programs compiled to Transformers, whose circuits are read in their source.

A RASP program (Weiss et al. 2021) is a sequence of selections and aggregations, of which tracr
(Lindner et al. 2023) makes the weights of a Transformer without norms. Here are three, with their
weights in ``programs.npz`` (`tools.compile_programs` holds the sources and writes that file):

    induction           previous = aggregate(select(place = own place - 1), token)
                        answer = aggregate(select(previous = own token), token)
    direct retrieval    asked = aggregate(select(token = own token, before the divider), place)
                        answer = aggregate(select(place = asked + 1), token)
    two hops            the token of which the answer is the value is looked up in the same way

What depends on a token alone is computed by an MLP: which tokens are keys, and the sum of a place
and 1. tracr gives each variable directions of its own along the axes of the residual stream, where
a method might find them by their sparsity; a model with a seed has them turned at random, which
without norms changes no answer.
"""

import functools
import pathlib
from types import MappingProxyType

import numpy as np
from flax.traverse_util import unflatten_dict

from mecheval_jax.errors import choose
from mecheval_jax.files import damaged, read_arrays
from mecheval_jax.ground_truth.collection import check_parameters
from mecheval_jax.ground_truth.planted import TASK, Planted, as_arrays
from mecheval_jax.models.language_model import ModelConfig
from mecheval_jax.site_path import SitePath, block_name
from mecheval_jax.tasks.synthetic.hop_recall import HopRecall
from mecheval_jax.tasks.synthetic.traceable import SyntheticTask

FILE = pathlib.Path(__file__).with_name("programs.npz")

INDUCTION, DIRECT, HOPS = "induction", "direct_retrieval", "two_hops"

TASKS: MappingProxyType[str, SyntheticTask] = MappingProxyType(
    {INDUCTION: TASK, DIRECT: TASK, HOPS: HopRecall(pairs=4, vocabulary=8, queries=1)}
)
"""Tasks that the programs solve, by the names of the programs."""

_READS = ("q_proj", "k_proj", "v_proj", "fc1", "output_head")
"""Layers whose kernels read the residual stream; others write to it."""


def program(name: str, seed: int | None = None) -> Planted:
    """A compiled program: the shape of the model, its parameters, and the task it solves.

    Args:
        name: One of `TASKS`.
        seed: Seed of the rotation of the residual stream; None for tracr's own axes.

    Raises:
        UserError: If there is no such program, or the file of their weights is damaged.
    """
    choose("program", name, TASKS)
    task, weights = TASKS[name], dict(_weights()[name])
    width = weights["token_embedding/embedding"].shape[1]
    config = ModelConfig(
        mixer="attention",
        layers=1 + max(SitePath.parse(path).layer or 0 for path in weights),
        width=width,
        vocabulary_size=task.vocabulary_size,
        max_length=task.max_length,
        positions="learned",
        hidden=weights[f"{block_name(0)}/mlp/fc1/kernel"].shape[1],
        activation="relu",
        norm="none",
        output_norm="none",
        tied=False,
    )
    check_parameters(weights, config, f"{FILE} is damaged")
    if seed is not None:
        drawn = np.random.default_rng(seed).normal(size=(width, width))
        turn = np.linalg.qr(drawn)[0]
        weights = {path: _turned(path, leaf, turn) for path, leaf in weights.items()}
    return config, as_arrays(unflatten_dict(weights, sep="/")), task


def _turned(path: str, leaf: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """A parameter of the model in another orthonormal basis of the residual stream."""
    layer, name = path.split("/")[-2:]
    if layer in _READS:
        return turn.T @ leaf if name == "kernel" else leaf
    return leaf @ turn


@functools.cache
def _weights() -> dict[str, dict[str, np.ndarray]]:
    """Parameters by their paths, by the name of the program."""
    remedy = "python -m tools.compile_programs writes it"
    arrays = read_arrays(FILE, remedy)
    for entry, array in arrays.items():
        if not np.issubdtype(array.dtype, np.floating) or not 1 <= array.ndim <= 2:
            what = f"{entry!r} is {array.dtype}{list(array.shape)}, no weights"
            raise damaged(FILE, what, remedy)
    arrays = {entry: array.astype(np.float64) for entry, array in arrays.items()}
    found = {
        name: {
            entry.removeprefix(f"{name}/"): array
            for entry, array in arrays.items()
            if entry.startswith(f"{name}/")
        }
        for name in TASKS
    }
    foreign = [entry for entry in arrays if not entry.startswith(tuple(f"{n}/" for n in TASKS))]
    if foreign:
        raise damaged(FILE, f"{foreign[0]!r} is of no program", remedy)
    for name, own in found.items():
        read = "token_embedding/embedding", f"{block_name(0)}/mlp/fc1/kernel"
        if any(np.ndim(own.get(path, ())) != 2 for path in read):
            raise damaged(FILE, f"it lacks weights of {name}", remedy)
    return found
