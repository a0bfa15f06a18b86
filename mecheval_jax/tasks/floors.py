"""What accuracy costs no recall: heuristics against which a model is read.

A model at a floor has learned the statistics of the documents, not the association.
"""

import functools

import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Float
from mecheval_jax.tasks.base import Batch


def recall_floors(batch: Batch, first_answer: int, answers: int) -> dict[str, float]:
    """Floors of a task whose answer is one token of a class that the document contains.

    Args:
        batch: sampled documents.
        first_answer: id of the first token of the class.
        answers: size of the class.

    Returns:
        ``uniform``: a uniform token of the class; ``in_document``: a uniform one among
        the document's; ``first`` and ``last``: the document's first or last of them;
        ``majority``: the commonest answer; ``best``: the highest of these.
    """
    values = jax.device_get(_recall_floors(batch, first_answer, answers))
    floors = {"uniform": 1 / answers} | {name: float(value) for name, value in values.items()}
    return floors | {"best": max(floors.values())}


@functools.partial(jax.jit, static_argnums=(1, 2))
def _recall_floors(batch: Batch, first_answer: int, answers: int) -> dict[str, Float[Array, ""]]:
    divider = batch.roles["divider"][:, :1]
    position = jnp.arange(batch.tokens.shape[1])
    is_answer = (batch.tokens >= first_answer) & (batch.tokens < first_answer + answers)
    is_answer &= position[None] < divider
    last = batch.tokens.shape[1] - 1 - jnp.argmax(is_answer[:, ::-1], axis=1)
    first = jnp.argmax(is_answer, axis=1)

    def accuracy(guess):
        correct = guess == batch.targets
        return (correct * batch.weights).sum() / batch.weights.sum()

    def token_at(positions):
        return jnp.take_along_axis(batch.tokens, positions[:, None], axis=1)

    counts = jnp.bincount(batch.targets.reshape(-1), length=first_answer + answers)
    return {
        "in_document": (1 / is_answer.sum(axis=1)).mean(),
        "first": accuracy(token_at(first)),
        "last": accuracy(token_at(last)),
        "majority": counts.max() / counts.sum(),
    }
