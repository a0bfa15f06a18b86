"""Floors of recall tasks: accuracies of heuristics that need no recall.

A model whose accuracy is at a floor may have learned the statistics of the documents alone.
"""

import functools

import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array
from mecheval_jax.tasks.base import Batch


def recall_floors(batch: Batch, answers: range) -> dict[str, float]:
    """Floors of a task whose answer is a token of one class that occurs in the document.

    A heuristic reads the tokens before the divider, or before the query if there is none.

    Args:
        batch: Sampled documents.
        answers: Ids of the class of the answers.

    Returns:
        Accuracies, 0 to 1, by heuristic. ``uniform``: a uniform token of the class;
        ``in_document``: a uniform occurrence of a token of the class in the document;
        ``first`` and ``last``: its first or last such token; ``majority``: the commonest
        answer of the batch; ``best``: the highest of these.
    """
    measured = _measure(batch, answers)
    floors = {"uniform": 1 / len(answers)} | {name: float(x) for name, x in measured.items()}
    return floors | {"best": max(floors.values())}


@functools.partial(jax.jit, static_argnums=1)
def _measure(batch: Batch, answers: range) -> dict[str, Array]:
    stop = batch.roles.get("divider", batch.query_positions)
    # An absent query has no divider; reading one token is harmless, as its weight is 0.
    stop = jnp.maximum(stop, 1)
    index = jnp.arange(batch.tokens.shape[1])[None]
    is_answer = (batch.tokens >= answers.start) & (batch.tokens < answers.stop)
    last = jax.lax.cummax(jnp.where(is_answer, index, 0), axis=1)
    seen = jnp.cumsum(is_answer, axis=1)
    before = index[:, None] < stop[..., None]
    same = batch.tokens[:, None] == batch.targets[..., None]
    repeated = (before & same).sum(axis=-1)

    def at(values: Array, positions: Array) -> Array:
        return jnp.take_along_axis(values, positions, axis=1)

    def mean(values: Array) -> Array:
        return (values * batch.weights).sum() / batch.weights.sum()

    first = jnp.argmax(is_answer, axis=1)[:, None]
    counts = jnp.zeros(answers.stop).at[batch.targets].add(batch.weights)
    return {
        "in_document": mean(repeated / jnp.maximum(at(seen, stop - 1), 1)),
        "first": mean(at(batch.tokens, first) == batch.targets),
        "last": mean(at(batch.tokens, at(last, stop - 1)) == batch.targets),
        "majority": counts.max() / counts.sum(),
    }
