"""The documents of every training step: a pure function of the data key and the step."""

import dataclasses
import math

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Sharding, SingleDeviceSharding

from mecheval_jax.array_types import Array, Int, Key
from mecheval_jax.errors import choose
from mecheval_jax.partitioning.multihost import is_multiprocess
from mecheval_jax.tasks.base import SPLITS, Batch, Task
from mecheval_jax.tasks.packed import HostTask, Packed, bucket, concatenate
from mecheval_jax.training.footprint import check_documents

BLOCK = 64
"""Number of training batches that are drawn on the host at once."""

LANES = 8
"""Greatest number of parts of a batch that can be drawn by different processes."""


def stream(key: Key, split: str) -> Key:
    """The key of a split: train, dev and test draw from separate streams.

    Raises:
        UserError: If there is no such split.
    """
    return jax.random.fold_in(key, SPLITS.index(choose("split", split, SPLITS)))


def training_batch(
    task: Task, key: Key, step: Int[Array, ""], batch_size: int, training_batches: int | None
) -> Batch:
    """The documents of a step of a traceable task, drawn on the device.

    With `training_batches` the set is fixed and replayed unshuffled: batch number
    `step` modulo its size, sampled again each time, nothing stored.
    """
    index = step if training_batches is None else step % training_batches
    return task.sample(jax.random.fold_in(stream(key, "train"), index), batch_size, "train")


class HostDocuments:
    """The documents of the steps of a task that draws them on the host.

    They are drawn in blocks of `BLOCK` batches and kept packed: every block of a fixed set, but
    only the newest of an endless stream. The rows of every batch are cut into parts, called lanes,
    that are drawn independently: the key, the number of the block and that of the lane determine
    what a lane holds. A process draws only the lanes whose rows its devices hold, and the whole
    batch is the same however many processes there are.

    Args:
        task: Task that draws.
        key: Key of the documents.
        batch_size: Number of documents of a step.
        training_batches: Number of batches of a fixed set that is replayed; None for an endless
            stream.
        sharding: Sharding of the rows of a batch; all on the default device if None.
    """

    def __init__(
        self,
        task: HostTask,
        key: Key,
        batch_size: int,
        training_batches: int | None = None,
        sharding: Sharding | None = None,
    ):
        self._task, self._key = task, stream(key, "train")
        self._batch_size, self._training_batches = batch_size, training_batches
        self._lanes = math.gcd(LANES, batch_size)
        self._sharding = sharding or SingleDeviceSharding(jax.local_devices()[0])
        # The lanes of which this process holds a row, and the rows of these lanes.
        lanes = np.arange(batch_size) // (batch_size // self._lanes)
        held = self._sharding.addressable_devices_indices_map((batch_size,)).values()
        self._own = np.unique(np.concatenate([lanes[rows] for rows in held])).tolist()
        self._rows = np.flatnonzero(np.isin(lanes, self._own))
        self._blocks: dict[int, _Block] = {}

    def batch(self, step: int) -> Batch:
        """The documents of a step on their devices, padded to the bucket of the longest."""
        index = step if self._training_batches is None else step % self._training_batches
        number, place = divmod(index, BLOCK)
        block, count = self._block(number), len(self._rows)
        rows = block.documents[place * count : (place + 1) * count]
        fields = rows.padded(bucket(int(block.longest[place]), self._task.max_length))

        def globally(ours: np.ndarray) -> jax.Array:
            def part(index: tuple[slice, ...]) -> np.ndarray:
                return ours[np.searchsorted(self._rows, np.arange(self._batch_size)[index[0]])]

            shape = (self._batch_size, *ours.shape[1:])
            return jax.make_array_from_callback(shape, self._sharding, part)

        return Batch(**jax.tree.map(globally, fields))

    @property
    def nbytes(self) -> int:
        """Bytes of the blocks that are kept."""
        return sum(block.documents.nbytes for block in self._blocks.values())

    def _block(self, number: int) -> "_Block":
        if number not in self._blocks:
            if self._training_batches is None:
                self._blocks.clear()
            self._blocks[number] = self._draw(jax.random.fold_in(self._key, number))
        return self._blocks[number]

    def _draw(self, key: Key) -> "_Block":
        count = BLOCK * self._batch_size
        drawn = concatenate(
            [self._task.draw_lane(key, count, "train", lane, self._lanes) for lane in self._own]
        )
        by_lane = np.arange(len(drawn)).reshape(len(self._own), BLOCK, -1)
        documents = drawn.take(by_lane.swapaxes(0, 1).ravel())
        longest = documents.lengths.reshape(BLOCK, -1).max(axis=1)
        if is_multiprocess():
            longest = multihost_utils.process_allgather(longest).max(axis=0)
        return _Block(documents, longest)


@dataclasses.dataclass(frozen=True)
class _Block:
    """The rows of `BLOCK` batches that this process holds.

    Attributes:
        documents: Rows of its lanes, batch after batch.
        longest: Number of tokens of the longest document of each batch, over all processes.
    """

    documents: Packed
    longest: Int[np.ndarray, " batches"]


def evaluation_batch(task: Task, seed: int, documents: int, split: str) -> Batch:
    """The documents on which runs with one data seed are evaluated.

    Raises:
        UserError: If there is no memory for so many.
    """
    check_documents(task, documents)
    return task.sample(stream(jax.random.key(seed), split), documents, split)
