"""Documents of different lengths, packed without padding, on the host.

Tasks whose sampling is not a compiled program draw packed documents. Documents that are computed
together, a batch or a part of one (`training.data`), are padded to the bucket of the longest.
Buckets are powers of two and the length limit of the task, so that there are few programs and
short documents are computed in short ones.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mecheval_jax.array_types import Int, Key
from mecheval_jax.tasks.base import PAD, Batch, SelfContained, check_batch_size

DOCUMENTS_OF_USUAL_LENGTH = 256
"""Number of documents whose median length is the usual one."""

SMALLEST_BUCKET = 16
"""Length of the smallest bucket, in tokens."""


def bucket(length: int, limit: int) -> int:
    """Length to which a document is padded: the next power of two, at most `limit`."""
    width = SMALLEST_BUCKET
    while width < length:
        width *= 2
    return min(width, limit)


@dataclasses.dataclass(frozen=True)
class Packed:
    """Concatenated documents on the host; the fields mean what they mean in `Batch`.

    Attributes:
        tokens: Tokens of all documents.
        starts: Index of the first token of each document, then the number of all tokens.
        query_positions, targets, weights: One row per document.
        roles: Positions by role, one row per document.
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
        """Number of tokens of each document."""
        return np.diff(self.starts)

    @property
    def nbytes(self) -> int:
        """Size of all arrays in bytes."""
        rows = (self.query_positions, self.targets, self.weights, *self.roles.values())
        return sum(array.nbytes for array in (self.tokens, self.starts, *rows))

    def __getitem__(self, chosen: slice) -> "Packed":
        """Consecutive documents, as views."""
        first, stop, _ = chosen.indices(len(self))
        starts = self.starts[first : stop + 1]
        return self._chosen(
            slice(first, stop), self.tokens[starts[0] : starts[-1]], starts - starts[0]
        )

    def take(self, rows: Int[np.ndarray, " chosen"]) -> "Packed":
        """Documents by number, in the order of `rows` and as often as `rows` has them."""
        lengths = self.lengths[rows]
        starts = np.concatenate([[0], lengths.cumsum()])
        shift = np.repeat(self.starts[rows] - starts[:-1], lengths)
        return self._chosen(rows, self.tokens[np.arange(starts[-1]) + shift], starts)

    def _chosen(self, rows: slice | np.ndarray, tokens: np.ndarray, starts: np.ndarray) -> "Packed":
        """Some rows of the documents, with the tokens of these documents."""
        return Packed(
            tokens=tokens,
            starts=starts,
            query_positions=self.query_positions[rows],
            targets=self.targets[rows],
            weights=self.weights[rows],
            roles={name: positions[rows] for name, positions in self.roles.items()},
        )

    def batch(self, limit: int) -> Batch:
        """The documents on the device, padded to the bucket of the longest.

        Args:
            limit: Length of the longest bucket, in tokens.
        """
        return Batch(**jax.tree.map(jnp.asarray, self.padded(bucket(self.longest, limit))))

    @property
    def longest(self) -> int:
        """Number of tokens of the longest document."""
        return int(self.lengths.max())

    def padded(self, width: int) -> dict[str, Any]:
        """Fields of a `Batch` whose documents are padded to `width` tokens, on the host."""
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
    """All documents of several parts, in order."""
    tokens = np.concatenate([part.tokens for part in parts])
    starts = np.concatenate([[0], *(part.lengths for part in parts)]).cumsum()

    def rows(read: Callable[[Packed], np.ndarray]) -> np.ndarray:
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
    """A NumPy generator, seeded by a jax key."""
    return np.random.default_rng(np.asarray(jax.random.key_data(key)).tolist())


class HostTask(SelfContained):
    """Base of tasks that draw packed documents on the host; a subclass implements `draw`."""

    traceable = False

    @functools.cached_property
    def usual_length(self) -> int:
        """Median length in tokens of documents; always the same ones."""
        # It is asked for inside compiled programs, too, where random keys would be traced.
        with jax.ensure_compile_time_eval():
            drawn = self.draw(jax.random.key(0), DOCUMENTS_OF_USUAL_LENGTH, "train")
        return int(np.median(drawn.lengths))

    def draw(self, key: Key, count: int, split: str) -> Packed:
        """Draw `count` documents of a split."""
        raise NotImplementedError

    def draw_lane(self, key: Key, count: int, split: str, lane: int, lanes: int) -> Packed:
        """Draw one of several equal parts of `count` documents, so that hosts can share the work.

        Args:
            key: Random key of all parts.
            count: Number of documents of all parts together, a multiple of `lanes`.
            split: Split of the documents.
            lane: Index of the part, from 0.
            lanes: Number of parts.
        """
        return self.draw(jax.random.fold_in(key, lane), count // lanes, split)

    def sample(self, key: Key, batch_size: int, split: str = "train") -> Batch:
        """A batch of documents of a split, padded to a bucket. Not traceable.

        Raises:
            UserError: If the split is unknown or has no documents, or none are asked for.
        """
        check_batch_size(batch_size)
        return self.draw(key, batch_size, split).batch(self.max_length)
