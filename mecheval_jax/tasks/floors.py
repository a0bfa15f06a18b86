"""What accuracy costs no recall: heuristics against which a model is read.

A model at a floor has learned the statistics of the documents, not the association.
"""

import functools

import jax
import jax.numpy as jnp

from mecheval_jax.tasks.base import Batch


def recall_floors(batch: Batch, answers: range) -> dict[str, float]:
    """Floors of a task whose answer is one token of a class that the document contains.

    What a heuristic sees of a document is what stands before the divider, or before the
    query where there is none.

    Args:
        batch: sampled documents.
        answers: ids of the class.

    Returns:
        ``uniform``: a uniform token of the class; ``in_document``: a uniform one among
        those that the document has, repeated as often as it has them; ``first`` and
        ``last``: the document's first or last of them; ``majority``: the commonest answer;
        ``best``: the highest of these.
    """
    measured = _measure(batch, answers)
    floors = {"uniform": 1 / len(answers)} | {name: float(x) for name, x in measured.items()}
    return floors | {"best": max(floors.values())}


@functools.partial(jax.jit, static_argnums=1)
def _measure(batch, answers):
    stop = batch.roles.get("divider", batch.query_positions)
    # An absent query has no divider; it sees one token and counts nothing.
    stop = jnp.maximum(stop, 1)
    index = jnp.arange(batch.tokens.shape[1])[None]
    is_answer = (batch.tokens >= answers.start) & (batch.tokens < answers.stop)
    last = jax.lax.cummax(jnp.where(is_answer, index, 0), axis=1)
    seen = jnp.cumsum(is_answer, axis=1)
    before = index[:, None] < stop[..., None]
    same = batch.tokens[:, None] == batch.targets[..., None]
    repeated = (before & same).sum(axis=-1)

    def at(values, positions):
        return jnp.take_along_axis(values, positions, axis=1)

    def mean(values):
        return (values * batch.weights).sum() / batch.weights.sum()

    first = jnp.argmax(is_answer, axis=1)[:, None]
    counts = jnp.zeros(answers.stop).at[batch.targets].add(batch.weights)
    return {
        "in_document": mean(repeated / jnp.maximum(at(seen, stop - 1), 1)),
        "first": mean(at(batch.tokens, first) == batch.targets),
        "last": mean(at(batch.tokens, at(last, stop - 1)) == batch.targets),
        "majority": counts.max() / counts.sum(),
    }
