"""What accuracy costs no recall: heuristics against which a model is read.

A model at a floor has learned the statistics of the documents, not the association.
"""

import jax.numpy as jnp

from mecheval_jax.tasks.base import Batch


def recall_floors(batch: Batch, answers: range) -> dict[str, float]:
    """Floors of a task whose answer is one token of a class that the document contains.

    Args:
        batch: sampled documents.
        answers: ids of the class.

    Returns:
        ``uniform``: a uniform token of the class; ``in_document``: a uniform one among
        the document's; ``first`` and ``last``: the document's first or last of them;
        ``majority``: the commonest answer; ``best``: the highest of these.
    """
    before = batch.roles.get("divider", batch.query_positions)[:, :1]
    position = jnp.arange(batch.tokens.shape[1])
    is_answer = (batch.tokens >= answers.start) & (batch.tokens < answers.stop)
    is_answer &= position[None] < before
    last = batch.tokens.shape[1] - 1 - jnp.argmax(is_answer[:, ::-1], axis=1)
    first = jnp.argmax(is_answer, axis=1)

    def accuracy(guess):
        correct = guess == batch.targets
        return float((correct * batch.weights).sum() / batch.weights.sum())

    def token_at(positions):
        return jnp.take_along_axis(batch.tokens, positions[:, None], axis=1)

    counts = jnp.bincount(batch.targets.reshape(-1), length=answers.stop)
    floors = {
        "uniform": 1 / len(answers),
        "in_document": float((1 / is_answer.sum(axis=1)).mean()),
        "first": accuracy(token_at(first)),
        "last": accuracy(token_at(last)),
        "majority": float(counts.max() / counts.sum()),
    }
    return floors | {"best": max(floors.values())}
