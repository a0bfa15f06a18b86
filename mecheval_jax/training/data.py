"""The documents of every training step: a pure function of the data key and the step."""

import dataclasses
import math
from typing import Any

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
from mecheval_jax.training.replay import Replay

BLOCK = 64
"""Number of training batches that are drawn on the host at once."""

LANES = 8
"""Greatest number of lanes of a batch, each of which a different process may draw."""


def stream(key: Key, split: str) -> Key:
    """The key of a split: train, dev and test draw from separate streams.

    Raises:
        UserError: If there is no such split.
    """
    return jax.random.fold_in(key, SPLITS.index(choose("split", split, SPLITS)))


def training_batch(
    task: Task, key: Key, step: Int[Array, ""], batch_size: int, replay: Replay
) -> Batch:
    """The documents of a step of a traceable task, drawn on the device.

    Those of a fixed set are sampled again each time, and nothing is stored.
    """
    number = jax.random.fold_in(stream(key, "train"), replay.batch(key, step))
    return task.sample(number, batch_size, "train")


class HostDocuments:
    """The documents of the steps of a task that draws them on the host.

    They are drawn in blocks of `BLOCK` batches and kept packed: every block of a fixed set, but
    only the newest of an endless stream. The rows of every batch are cut into lanes that are drawn
    independently: the key, the number of the block and that of the lane determine what a lane
    holds. A process draws only the lanes whose rows its devices hold, and the whole batch is the
    same however many processes there are.

    A step gets its documents in parts of similar lengths (`part_sizes`), so that short documents
    are not computed at the length of the longest: the rows of each device are sorted by length,
    and every part has equally many rows of each device.

    Args:
        task: Task that draws.
        key: Key of the documents.
        batch_size: Number of documents of a step.
        replay: Fixed set, and the order of its batches; fresh documents if not given.
        sharding: Sharding of the rows of a batch; they stay on the host if None.
        unit: Number of rows of which the size of each part is a multiple; one part if None.
    """

    def __init__(
        self,
        task: HostTask,
        key: Key,
        batch_size: int,
        replay: Replay = Replay(),  # noqa: B008, a frozen value
        sharding: Sharding | None = None,
        unit: int | None = 1,
    ):
        self._task, self._key, self._order = task, key, (-1, ())
        self._batch_size, self._replay = batch_size, replay
        self._lanes = math.gcd(LANES, batch_size)
        self._sharding = sharding
        # The rows of each device, or shard, that this process holds.
        where = sharding or SingleDeviceSharding(jax.local_devices()[0])
        held = where.addressable_devices_indices_map((batch_size,)).values()
        rows = np.unique([np.arange(batch_size)[each] for each in held], axis=0)
        self._shards = rows[:, 0] // rows.shape[1]
        self._ends = np.cumsum(part_sizes(rows.shape[1], unit) if unit else [rows.shape[1]])
        # The lanes that have these rows, and the places of the rows among those of the lanes.
        lanes = np.arange(batch_size) // (batch_size // self._lanes)
        self._own = np.unique(lanes[rows]).tolist()
        self._places = np.searchsorted(np.flatnonzero(np.isin(lanes, self._own)), rows)
        self._blocks: dict[int, _Block] = {}

    def longest(self, step: int) -> Int[np.ndarray, " parts"]:
        """Number of tokens of the longest document in each part of a step, over all processes."""
        block, place = self._find(step)
        return block.longest[place]

    def parts(
        self, step: int, longest: Int[np.ndarray, " parts"] | None = None
    ) -> tuple[dict[str, Any], ...]:
        """The documents of a step, in parts of ascending lengths: fields of a `Batch` of each.

        Each part is padded to the bucket of its longest document; parts of one bucket are one.

        Args:
            step: Number of the step.
            longest: Number of tokens up to which each part is padded, at least; that of its
                longest document if None. Members that train together need parts of one shape.
        """
        block, place = self._find(step)
        widths = self.widths(block.longest[place] if longest is None else longest)
        parts, first = [], 0
        for width, following, stop in zip(widths, (*widths[1:], None), self._ends, strict=True):
            if width != following:
                rows = block.documents.take(block.order[place, :, first:stop].ravel())
                parts.append(self._placed(rows.padded(width), int(stop - first)))
                first = stop
        return tuple(parts)

    def widths(self, longest: Int[np.ndarray, " parts"]) -> tuple[int, ...]:
        """The buckets of parts whose longest documents have these numbers of tokens."""
        return tuple(bucket(int(tokens), self._task.max_length) for tokens in longest)

    def _placed(self, fields: dict[str, Any], rows: int) -> dict[str, Any]:
        """This process's rows of a part, as a part of the batch of all processes.

        Args:
            fields: Fields of the rows of its shards, one shard after another.
            rows: Number of rows of each shard.
        """
        if self._sharding is None:
            return fields
        if not is_multiprocess():
            return jax.device_put(fields, self._sharding)
        shards = self._batch_size // self._places.shape[1]
        all_rows = np.arange(shards * rows)
        place = np.searchsorted(self._shards, all_rows // rows) * rows + all_rows % rows

        def globally(ours: np.ndarray) -> jax.Array:
            def of_device(index: tuple[slice, ...]) -> np.ndarray:
                return ours[place[index[0]]]

            shape = (len(all_rows), *ours.shape[1:])
            return jax.make_array_from_callback(shape, self._sharding, of_device)

        return jax.tree.map(globally, fields)

    @property
    def nbytes(self) -> int:
        """Bytes of the blocks that are kept."""
        return sum(block.nbytes for block in self._blocks.values())

    def _find(self, step: int) -> tuple["_Block", int]:
        """The block that holds a step's batch, and the batch's place there."""
        number, place = divmod(self._number(step), BLOCK)
        return self._block(number), place

    def _number(self, step: int) -> int:
        """The number of a step's batch.

        Those of a shuffled set are computed for all of it at once: the device would give each of
        them after the step before alone.
        """
        if not self._replay.shuffle:
            return self._replay.batch(self._key, step)
        epoch, place = divmod(step, self._replay.batches)
        if epoch != self._order[0]:
            self._order = epoch, np.asarray(self._replay.order(self._key, epoch)).tolist()
        return self._order[1][place]

    def _block(self, number: int) -> "_Block":
        if number not in self._blocks:
            if self._replay.batches is None:
                self._blocks.clear()
            key = jax.random.fold_in(stream(self._key, "train"), number)
            self._blocks[number] = self._draw(key)
        return self._blocks[number]

    def _draw(self, key: Key) -> "_Block":
        count = BLOCK * self._batch_size
        drawn = concatenate(
            [self._task.draw_lane(key, count, "train", lane, self._lanes) for lane in self._own]
        )
        # [lane, batch, row of the lane] -> [batch, shard, row of the shard], by length there
        by_lane = np.arange(len(drawn)).reshape(len(self._own), BLOCK, -1)
        order = by_lane.swapaxes(0, 1).reshape(BLOCK, -1)[:, self._places]
        ascending = np.argsort(drawn.lengths[order], axis=2, kind="stable")
        order = np.take_along_axis(order, ascending, axis=2)
        longest = drawn.lengths[order[:, :, self._ends - 1]].max(axis=1)
        if is_multiprocess():
            longest = multihost_utils.process_allgather(longest).max(axis=0)
        return _Block(drawn, order.astype(np.int32), longest)


FEWEST = 16
"""Number of rows of a device from which on they are cut into parts."""


def part_sizes(rows: int, unit: int = 1) -> tuple[int, ...]:
    """Numbers of rows of the parts of a batch, by ascending length: a half and two quarters.

    Lengths of documents of a grammar have a long tail: the longest of 32 has four times the tokens
    of the mean (L = 5), and these parts save two thirds of the padding. Finer ones would save a
    little more, but there would be more shapes to compile.

    Args:
        rows: Number of rows of all parts.
        unit: Number of which each size is a multiple.
    """
    if rows < FEWEST or rows % (4 * unit):
        return (rows,)
    return rows // 2, rows // 4, rows // 4


@dataclasses.dataclass(frozen=True)
class _Block:
    """The rows of `BLOCK` batches that this process holds.

    Attributes:
        documents: Rows of its lanes.
        order: Index of each row's document: rows of a shard in ascending order of length.
        longest: Number of tokens of the longest document of each part, over all processes.
    """

    documents: Packed
    order: Int[np.ndarray, "batches shards rows"]
    longest: Int[np.ndarray, "batches parts"]

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return self.documents.nbytes + self.order.nbytes + self.longest.nbytes


def evaluation_batch(task: Task, seed: int, documents: int, split: str) -> Batch:
    """The documents on which runs with one data seed are evaluated.

    Raises:
        UserError: If there is no memory for so many.
    """
    check_documents(task, documents)
    return task.sample(stream(jax.random.key(seed), split), documents, split)
