"""Which documents a step sees: a pure function of the data key and the step."""

import jax

from mecheval_jax.array_types import Array, Int, Key
from mecheval_jax.tasks.base import SPLITS, Batch, Task
from mecheval_jax.tasks.packed import HostTask, Packed

BLOCK = 64
"""Training batches that are drawn on the host at once."""


def stream(key: Key, split: str) -> Key:
    """The key of a split: train, dev and test draw from separate streams."""
    return jax.random.fold_in(key, SPLITS.index(split))


def training_batch(
    task: Task, key: Key, step: Int[Array, ""], batch_size: int, training_batches: int | None
) -> Batch:
    """The documents of a step, of a traceable task.

    With `training_batches` the set is fixed and replayed unshuffled: batch number
    `step` modulo its size, sampled again each time, nothing stored.
    """
    index = step if training_batches is None else step % training_batches
    return task.sample(jax.random.fold_in(stream(key, "train"), index), batch_size, "train")


class HostDocuments:
    """The documents of the steps, of a task that draws them on the host.

    They are drawn in blocks of `BLOCK` batches, each a function of the key and its number, and
    kept packed: all blocks of a fixed set, of an endless stream the last.

    Args:
        task: which draws.
        key: of the documents.
        batch_size: documents a step.
        training_batches: batches of a fixed set that is replayed; None for an endless stream.
    """

    def __init__(
        self, task: HostTask, key: Key, batch_size: int, training_batches: int | None = None
    ):
        self._task, self._key = task, stream(key, "train")
        self._batch_size, self._training_batches = batch_size, training_batches
        self._blocks: dict[int, Packed] = {}

    def batch(self, step: int) -> Batch:
        """The documents of a step, as long as the bucket of the longest."""
        index = step if self._training_batches is None else step % self._training_batches
        block, place = divmod(index, BLOCK)
        first = place * self._batch_size
        documents = self._block(block)[first : first + self._batch_size]
        return documents.batch(self._task.max_length)

    @property
    def nbytes(self) -> int:
        """Bytes of the blocks that are kept."""
        return sum(block.nbytes for block in self._blocks.values())

    def _block(self, number: int) -> Packed:
        if number not in self._blocks:
            if self._training_batches is None:
                self._blocks.clear()
            key = jax.random.fold_in(self._key, number)
            self._blocks[number] = self._task.draw(key, BLOCK * self._batch_size, "train")
        return self._blocks[number]


def evaluation_batch(task: Task, seed: int, documents: int, split: str) -> Batch:
    """The documents on which runs with one data seed are evaluated."""
    return task.sample(stream(jax.random.key(seed), split), documents, split)
