"""Which documents a step sees: a pure function of the data key and the step."""

import jax

from mecheval_jax.array_types import Array, Int, Key
from mecheval_jax.tasks.base import SPLITS, Batch, Task


def stream(key: Key, split: str) -> Key:
    """The key of a split: train, dev and test draw from separate streams."""
    return jax.random.fold_in(key, SPLITS.index(split))


def training_batch(
    task: Task, key: Key, step: Int[Array, ""], batch_size: int, training_batches: int | None
) -> Batch:
    """The documents of a step.

    With `training_batches` the set is fixed and replayed unshuffled: batch number
    `step` modulo its size, sampled again each time, nothing stored.
    """
    index = step if training_batches is None else step % training_batches
    return task.sample(jax.random.fold_in(stream(key, "train"), index), batch_size, "train")


def evaluation_batch(task: Task, seed: int, documents: int, split: str) -> Batch:
    """The documents on which runs with one data seed are evaluated."""
    return task.sample(stream(jax.random.key(seed), split), documents, split)
