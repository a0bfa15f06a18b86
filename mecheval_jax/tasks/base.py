"""What every task gives: batches with named positions, corruption, floors.

Sampling is a pure function of a key, so the step index is the whole state of the data:
resuming and sharding need nothing else, and nothing is stored.
"""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from mecheval_jax.array_types import Array, Bool, Float, Int, Key

PAD, BOS, EOS = 0, 1, 2
SPECIAL = ("<pad>", "<bos>", "<eos>")
"""Names of the first ids."""
SPLITS = ("train", "dev", "test")
ABSENT = -1
"""Position of a role that a document does not have."""


@flax.struct.dataclass
class Batch:
    """Documents and what is asked of them; a single document lacks the batch axis.

    Attributes:
        tokens: token ids, padded on the right with `PAD`.
        query_positions: where each answer is predicted.
        targets: the answers.
        weights: 1 for a query that counts, 0 for a place that is not used.
        roles: for each named role one position per query, `ABSENT` where a document
            has none; each task documents its names.
        lengths: tokens before the padding.
    """

    tokens: Int[Array, "*batch length"]
    query_positions: Int[Array, "*batch queries"]
    targets: Int[Array, "*batch queries"]
    weights: Float[Array, "*batch queries"]
    roles: dict[str, Int[Array, "*batch queries"]]
    lengths: Int[Array, "*batch"]


@runtime_checkable
class Task(Protocol):
    """A frozen dataclass built from the config."""

    @property
    def traceable(self) -> bool:
        """Whether `sample` can be part of a compiled program.

        Where it cannot, documents are drawn on the host, and a batch is only as long as the
        bucket of its longest document (`tasks.packed`).
        """
        ...

    @property
    def vocabulary_size(self) -> int:
        """Number of token ids."""
        ...

    @property
    def max_length(self) -> int:
        """Length of the longest document, to which all are padded."""
        ...

    @property
    def read_length(self) -> int:
        """Tokens up to the last possible query: a causal model need read no further."""
        ...

    @property
    def role_names(self) -> tuple[str, ...]:
        """Names of the roles of its batches."""
        ...

    @property
    def corruptions(self) -> tuple[str, ...]:
        """Roles whose token `corrupt` can replace."""
        ...

    @property
    def chance(self) -> float:
        """Accuracy of a guess that does not read the document; each task says which guess."""
        ...

    def sample(self, key: Key, batch_size: int, split: str) -> Batch:
        """Documents of a split (``train``, ``dev``, ``test``)."""
        ...

    def corrupt(self, key: Key, batch: Batch, role: str) -> Int[Array, "batch length"]:
        """The tokens with the one at `role` (of query 0) replaced by another of its class."""
        ...

    def name_of(self, token: int) -> str:
        """A token in words."""
        ...

    def describe(self, batch: Batch, index: int) -> str:
        """One document in words, with its roles."""
        ...

    def properties(self, batch: Batch) -> dict[str, Int[Array, "batch queries"]]:
        """Numbers by which accuracy is sliced: length, distance, ..."""
        ...

    def floors(self, key: Key, documents: int, split: str) -> dict[str, float]:
        """Accuracies of heuristics that need no recall, on sampled documents."""
        ...

    def statistics(self, key: Key, documents: int, split: str) -> dict[str, np.ndarray]:
        """What a batch does not tell of its documents: by name a number for each of some."""
        ...

    def sizes(self) -> dict[str, int]:
        """Documents of each split, where there are only so many."""
        ...

    def absent(self) -> dict[str, str]:
        """Why roles that such a task can have, or their corruptions, are not there; by role."""
        ...

    def artifacts(self) -> dict[str, str]:
        """Texts that a run's folder keeps, by file name: what the config alone cannot rebuild."""
        ...


class SelfContained:
    """Base of tasks that a config, and a batch, say all of."""

    def statistics(self, key: Key, documents: int, split: str) -> dict[str, np.ndarray]:
        """A batch tells all; see `Task.statistics`."""
        del key, documents, split
        return {}

    def artifacts(self) -> dict[str, str]:
        """Nothing has to be kept beside the config; see `Task.artifacts`."""
        return {}

    def absent(self) -> dict[str, str]:
        """All documents have the same roles; see `Task.absent`."""
        return {}

    def sizes(self) -> dict[str, int]:
        """There is no end of documents; see `Task.sizes`."""
        return {}


def at_position(positions: Int[Array, " batch"], length: int) -> Bool[Array, "batch length"]:
    """True at one position of each document; nowhere where it is `ABSENT`."""
    return jnp.arange(length)[None] == positions[:, None]


def free_of(
    key: Int[Array, " queries"], stop: int | Int[Array, "..."], positions: Int[Array, " queries"]
) -> Int[Array, " queries"]:
    """Positions of a role, `ABSENT` from `stop` on and where the role would fall on ``key``."""
    return jnp.where((positions >= stop) | (positions == key), ABSENT, positions)


def following(
    key: Int[Array, " queries"], value: Int[Array, " queries"], stop: int | Int[Array, "..."]
) -> dict[str, Int[Array, " queries"]]:
    """The roles right after the value, ``next_key`` and ``value+2``; see `free_of`."""
    return {
        "next_key": free_of(key, stop, value + 1),
        "value+2": free_of(key, stop, value + 2),
    }


def replace_at(
    tokens: Int[Array, "batch length"],
    positions: Int[Array, " batch"],
    replacements: Int[Array, " batch"],
) -> Int[Array, "batch length"]:
    """`tokens` with one token of each document replaced; none where the position is `ABSENT`."""
    here = at_position(positions, tokens.shape[1])
    return jnp.where(here, replacements[:, None], tokens)


def describe(batch: Batch, index: int, name_of: Callable[[int], str]) -> str:
    """One document in words; the roles of its first query stand in brackets."""
    names: dict[int, list[str]] = {}
    for role, positions in batch.roles.items():
        if role not in ("bos", "divider"):
            names.setdefault(int(positions[index, 0]), []).append(role)
    words = []
    for position in range(int(batch.lengths[index])):
        word = name_of(int(batch.tokens[index, position]))
        roles = names.get(position)
        words.append(f"{word}[{','.join(roles)}]" if roles else word)
    return " ".join(words)


def query_properties(batch: Batch) -> dict[str, Int[Array, "batch queries"]]:
    """What every document has: its ``length``, and the ``distance`` from the key to the query.

    A distance is `ABSENT` where the document has no key.
    """
    lengths = jnp.broadcast_to(batch.lengths[:, None], batch.query_positions.shape)
    if "key" not in batch.roles:
        return {"length": lengths}
    key = batch.roles["key"]
    return {
        "length": lengths,
        "distance": jnp.where(key < 0, ABSENT, batch.query_positions - key),
    }


def sample_distinct(
    key: Key,
    count: int,
    population: int | Int[Array, ""],
    excluded: Int[Array, " excluded"] | None = None,
) -> Int[Array, " count"]:
    """Distinct integers of [0, population), uniform and in random order, without rejection.

    The i-th draw is a rank among those that are left; ranks become values from the last
    draw backwards, each draw pushing up the later ones that are not below it (decoding
    a Lehmer code): `count` vector operations.

    Args:
        key: random key.
        count: how many.
        population: size of the range; may be traced, at least `count` more than the
            excluded.
        excluded: distinct values never drawn.
    """
    if count == 0:  # no loop body can index an empty array, though it never runs
        return jnp.zeros(0, jnp.int32)
    taken = 0 if excluded is None else excluded.shape[0]
    left = population - taken - jnp.arange(count)
    draws = jax.random.randint(key, (count,), 0, jnp.maximum(left, 1))
    index = jnp.arange(count)

    def decode(step, values):
        i = count - 1 - step
        return values + ((index > i) & (values >= values[i]))

    values = jax.lax.fori_loop(0, count, decode, draws)
    if excluded is not None:
        in_order = jnp.sort(excluded)
        values = jax.lax.fori_loop(
            0, taken, lambda i, values: values + (values >= in_order[i]), values
        )
    return values
