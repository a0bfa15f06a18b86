"""Documents of different lengths, without padding, on the host.

A task whose sampling is no compiled program draws its documents packed. A batch of them is only
as long as the bucket of its longest document: lengths are powers of two (and the limit of the
task), so that a program is compiled once a bucket and a short document never pays for the limit.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mecheval_jax.array_types import Int, Key
from mecheval_jax.tasks.base import PAD, Batch, SelfContained

SMALLEST_BUCKET = 16


def bucket(length: int, limit: int) -> int:
    """The length to which a document is padded: the next power of two, at most `limit`."""
    width = SMALLEST_BUCKET
    while width < length:
        width *= 2
    return min(width, limit)


@dataclasses.dataclass(frozen=True)
class Packed:
    """Documents laid end to end; fields as those of `Batch`, but on the host.

    Attributes:
        tokens: of all documents.
        starts: where each document begins, and the end of the last.
        query_positions, targets, weights: one row a document.
        roles: likewise, by name.
    """

    tokens: Int[np.ndarray, " tokens"]
    starts: Int[np.ndarray, " documents_and_1"]
    query_positions: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    roles: dict[str, np.ndarray]

    def __len__(self) -> int:
        """Number of documents."""
        return len(self.starts) - 1

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each document."""
        return np.diff(self.starts)

    @property
    def nbytes(self) -> int:
        """Bytes that the documents take."""
        rows = (self.query_positions, self.targets, self.weights, *self.roles.values())
        return sum(array.nbytes for array in (self.tokens, self.starts, *rows))

    def __getitem__(self, chosen: slice) -> "Packed":
        """A run of documents; nothing is copied."""
        first, stop, _ = chosen.indices(len(self))
        starts = self.starts[first : stop + 1]
        rows = slice(first, stop)
        return Packed(
            tokens=self.tokens[starts[0] : starts[-1]],
            starts=starts - starts[0],
            query_positions=self.query_positions[rows],
            targets=self.targets[rows],
            weights=self.weights[rows],
            roles={name: positions[rows] for name, positions in self.roles.items()},
        )

    def take(self, rows: Int[np.ndarray, " chosen"]) -> "Packed":
        """Documents by number, in the order of `rows`, repeated where it repeats."""
        lengths = self.lengths[rows]
        starts = np.concatenate([[0], lengths.cumsum()])
        shift = np.repeat(self.starts[rows] - starts[:-1], lengths)
        return Packed(
            tokens=self.tokens[np.arange(starts[-1]) + shift],
            starts=starts,
            query_positions=self.query_positions[rows],
            targets=self.targets[rows],
            weights=self.weights[rows],
            roles={name: positions[rows] for name, positions in self.roles.items()},
        )

    def batch(self, limit: int) -> Batch:
        """The documents padded to the bucket of the longest, on the device.

        Args:
            limit: the task's longest document, beyond which no bucket goes.
        """
        return Batch(**jax.tree.map(jnp.asarray, self.padded(bucket(self.longest, limit))))

    @property
    def longest(self) -> int:
        """Tokens of the longest document."""
        return int(self.lengths.max())

    def padded(self, width: int) -> dict[str, Any]:
        """The fields of a `Batch` whose documents are `width` long, on the host."""
        lengths = self.lengths
        tokens = np.full((len(self), width), PAD, np.int32)
        tokens[np.arange(width)[None] < lengths[:, None]] = self.tokens
        return {
            "tokens": tokens,
            "query_positions": self.query_positions.astype(np.int32),
            "targets": self.targets.astype(np.int32),
            "weights": self.weights.astype(np.float32),
            "roles": {name: p.astype(np.int32) for name, p in self.roles.items()},
            "lengths": lengths.astype(np.int32),
        }


def concatenate(parts: Sequence[Packed]) -> Packed:
    """The documents of several, in order."""
    tokens = np.concatenate([part.tokens for part in parts])
    starts = np.concatenate([[0], *(part.lengths for part in parts)]).cumsum()

    def rows(read) -> Any:
        return np.concatenate([read(part) for part in parts])

    return Packed(
        tokens=tokens,
        starts=starts,
        query_positions=rows(lambda part: part.query_positions),
        targets=rows(lambda part: part.targets),
        weights=rows(lambda part: part.weights),
        roles={name: rows(lambda part, n=name: part.roles[n]) for name in parts[0].roles},
    )


def generator(key: Key) -> np.random.Generator:
    """NumPy's random numbers as a pure function of a jax key."""
    return np.random.default_rng(np.asarray(jax.random.key_data(key)).tolist())


class HostTask(SelfContained):
    """Base of a task that draws its documents packed: `draw` is what it adds."""

    traceable = False

    def draw(self, key: Key, count: int, split: str) -> Packed:
        """So many documents of a split."""
        raise NotImplementedError

    def draw_lane(self, key: Key, count: int, split: str, lane: int, lanes: int) -> Packed:
        """One of the equal parts of `count` documents, which may be drawn in different places.

        Args:
            key: of all the documents.
            count: documents of all parts, a multiple of `lanes`.
            split: whose documents.
            lane: number of the part, from 0.
            lanes: how many parts there are.
        """
        return self.draw(jax.random.fold_in(key, lane), count // lanes, split)

    def sample(self, key: Key, batch_size: int, split: str = "train") -> Batch:
        """Documents of a split, as long as the bucket of the longest. Not traceable."""
        return self.draw(key, batch_size, split).batch(self.max_length)
