"""The interface of tasks: batches with named positions (roles), corruptions and floors.

Sampling is a pure function of a key. The index of the training step is therefore the whole
state of the data, and resuming and sharding need nothing else.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar, runtime_checkable

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from mecheval_jax.array_types import Array, Bool, Float, Int, Key
from mecheval_jax.errors import UserError, shown

PAD, BOS, EOS = 0, 1, 2
SPECIAL = ("<pad>", "<bos>", "<eos>")
"""Names of the first three ids."""
SPLITS = ("train", "dev", "test")
ABSENT = -1
"""Position of a role that a document does not have."""

PAIR = ("key", "value")
"""Roles of the two tokens that are bound to each other."""
DERIVED = {"next_key": 1, "value+2": 2}
"""Distance in tokens from ``value`` of the roles that are derived from it."""
ROLES = ("bos", *PAIR, *DERIVED, "divider", "query", "answer")
"""Roles of documents that are asked for an item behind a divider."""
UNMARKED = ("bos", "divider")
"""Roles that are visible in every document without a mark."""


@flax.struct.dataclass
class Batch:
    """Documents and their queries; a single document lacks the batch axis.

    Attributes:
        tokens: Token ids, padded on the right with `PAD`.
        query_positions: Position at which each answer is predicted.
        targets: Token ids of the answers.
        weights: 1 for a query that counts, 0 for an unused place.
        roles: One position per query for each role, by name; `ABSENT` where a document lacks
            the role. The module of each task documents its roles.
        lengths: Number of tokens before the padding.
    """

    tokens: Int[Array, "*batch length"]
    query_positions: Int[Array, "*batch queries"]
    targets: Int[Array, "*batch queries"]
    weights: Float[Array, "*batch queries"]
    roles: dict[str, Int[Array, "*batch queries"]]
    lengths: Int[Array, "*batch"]


@runtime_checkable
class Task(Protocol):
    """A task: a frozen dataclass built from the config."""

    @property
    def traceable(self) -> bool:
        """Whether `sample` can be part of a compiled program.

        If not, documents are drawn on the host and padded only to the bucket of the longest
        among those computed together (`tasks.packed`).
        """
        ...

    @property
    def vocabulary_size(self) -> int:
        """Number of token ids."""
        ...

    @property
    def max_length(self) -> int:
        """Length in tokens of the longest document, to which all are padded."""
        ...

    @property
    def read_length(self) -> int:
        """Number of tokens up to the last possible query, all that a causal model has to read."""
        ...

    @property
    def usual_length(self) -> int:
        """Length in tokens that about half of the documents do not exceed.

        What is called near or far in a document is measured by it: few may be as long as the limit.
        """
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
        """A batch of documents, at least one, of a split (``train``, ``dev``, ``test``)."""
        ...

    def corrupt(self, key: Key, batch: Batch, role: str) -> Int[Array, "batch length"]:
        """The tokens with the one at `role` (of query 0) replaced by another of its class."""
        ...

    def corrupted_places(self, batch: Batch, role: str) -> Bool[Array, "batch length"]:
        """A mask of the tokens that `corrupt` replaces: the role of query 0 and its repetitions."""
        ...

    def loss_weights(self, batch: Batch) -> Float[Array, "batch queries"]:
        """Weight of every query in the training loss; `Batch.weights` where all weigh alike.

        The weights of a document do not depend on others: a batch may be computed in parts.
        """
        ...

    def name_of(self, token: int) -> str:
        """A token in words, for people."""
        ...

    def describe(self, batch: Batch, index: int) -> str:
        """One document in words, with its roles."""
        ...

    def properties(self, batch: Batch) -> dict[str, Int[Array, "batch queries"]]:
        """Properties of queries by which accuracy is sliced, by name: length, distance, ..."""
        ...

    def floors(
        self, key: Key, documents: int, split: str, *, first: bool = False
    ) -> dict[str, float]:
        """Accuracies, 0 to 1, of heuristics on sampled documents, by name (`floors.KINDS`).

        With `first` they are those for query 0 of each document, which may be easier or harder to
        guess than the others.
        """
        ...

    @property
    def recall_like(self) -> tuple[str, ...]:
        """Floors that are recall itself in its documents, so that ``best`` leaves them out."""
        ...

    @property
    def hash_field(self) -> str:
        """Field with the hash of the files that its other fields name; empty if it has no files."""
        ...

    @classmethod
    def files_of(cls, values: Mapping[str, Any]) -> list[str]:
        """Paths that fields of a config name, whose files a task of these fields would read."""
        ...

    def statistics(self, key: Key, documents: int, split: str) -> dict[str, np.ndarray]:
        """Statistics of sampled documents that a batch does not contain: values by name."""
        ...

    def sizes(self) -> dict[str, int]:
        """Number of documents of each split; empty if there is no limit."""
        ...

    def remarks(self) -> tuple[str, ...]:
        """What is odd about its documents and a user should know, each as a sentence."""
        ...

    def absent(self) -> dict[str, str]:
        """Reasons for which roles, or their corruptions, are missing, by role."""
        ...

    def artifacts(self) -> dict[str, str]:
        """Texts that the config cannot rebuild and a run folder keeps, by file name."""
        ...


class SelfContained:
    """Base of tasks without data of their own: the config determines them."""

    recall_like: tuple[str, ...] = ()

    hash_field: str = ""
    """Field with the hash of the files that others name; empty if there are no files."""

    @classmethod
    def files_of(cls, values: Mapping[str, Any]) -> list[str]:
        """Paths that fields of a config name, whose files a task of them reads; none."""
        del values
        return []

    def corrupted_places(self, batch: Batch, role: str) -> Bool[Array, "batch length"]:
        """The position of the role of query 0 alone; see `Task.corrupted_places`."""
        return at_position(batch.roles[role][:, 0], batch.tokens.shape[1])

    def loss_weights(self, batch: Batch) -> Float[Array, "batch queries"]:
        """All queries weigh alike; see `Task.loss_weights`."""
        return batch.weights

    def statistics(self, key: Key, documents: int, split: str) -> dict[str, np.ndarray]:
        """None; see `Task.statistics`."""
        del key, documents, split
        return {}

    def artifacts(self) -> dict[str, str]:
        """None; see `Task.artifacts`."""
        return {}

    def absent(self) -> dict[str, str]:
        """None, since all documents have the same roles; see `Task.absent`."""
        return {}

    def remarks(self) -> tuple[str, ...]:
        """None; see `Task.remarks`."""
        return ()

    def sizes(self) -> dict[str, int]:
        """None, since documents are drawn without limit; see `Task.sizes`."""
        return {}


def asked_positions(documents: Any) -> Any:
    """Positions of what each query of a batch, or of packed documents, asks about.

    It is the role ``query`` or else where the query is answered; `ABSENT` where there is no query.
    """
    return documents.roles.get("query", documents.query_positions)


def divider_or(documents: Any, otherwise: Any) -> np.ndarray:
    """Positions of the dividers of a batch, or of packed documents, by query or for all of them.

    Args:
        documents: The documents, some of which may have no divider.
        otherwise: [document, query] Position in the place of a divider that there is not.
    """
    divider = np.asarray(documents.roles.get("divider", ABSENT))
    return np.where(divider >= 0, divider, otherwise)


Rows = TypeVar("Rows", bound=Any)


def first_query(documents: Rows) -> Rows:
    """The same documents, a batch or packed ones, of whose queries only the first counts."""
    weights = documents.weights * (np.arange(documents.weights.shape[1]) == 0)[None]
    return dataclasses.replace(documents, weights=weights)


def at_position(positions: Int[Array, " batch"], length: int) -> Bool[Array, "batch length"]:
    """A mask of one position of each document; all False where the position is `ABSENT`."""
    return jnp.arange(length)[None] == positions[:, None]


def free_of(
    key: Int[Array, " queries"], stop: int | Int[Array, "..."], positions: Int[Array, " queries"]
) -> Int[Array, " queries"]:
    """Positions of a role, made `ABSENT` if they are `stop` or later, or equal the ``key``'s."""
    return jnp.where((positions >= stop) | (positions == key), ABSENT, positions)


def following(
    key: Int[Array, " queries"], value: Int[Array, " queries"], stop: int | Int[Array, "..."]
) -> dict[str, Int[Array, " queries"]]:
    """Positions of the roles of `DERIVED`; see `free_of`."""
    return {name: free_of(key, stop, value + distance) for name, distance in DERIVED.items()}


def replace_at(
    tokens: Int[Array, "batch length"],
    positions: Int[Array, " batch"],
    replacements: Int[Array, " batch"],
) -> Int[Array, "batch length"]:
    """Replace one token of each document; none where the position is `ABSENT`."""
    here = at_position(positions, tokens.shape[1])
    return jnp.where(here, replacements[:, None], tokens)


def describe(batch: Batch, index: int, name_of: Callable[[int], str]) -> str:
    """One document in words, with the roles of its first query in brackets."""
    names: dict[int, list[str]] = {}
    for role, positions in batch.roles.items():
        if role not in UNMARKED:
            names.setdefault(int(positions[index, 0]), []).append(role)
    words = []
    for position in range(int(batch.lengths[index])):
        word = name_of(int(batch.tokens[index, position]))
        roles = names.get(position)
        words.append(f"{word}[{','.join(roles)}]" if roles else word)
    return " ".join(words)


def query_properties(batch: Batch) -> dict[str, Int[Array, "batch queries"]]:
    """``length`` of the document and ``distance`` from key to query, in tokens.

    The distance is `ABSENT` where a document has no key; batches without keys have none.
    """
    lengths = jnp.broadcast_to(batch.lengths[:, None], batch.query_positions.shape)
    if "key" not in batch.roles:
        return {"length": lengths}
    key = batch.roles["key"]
    return {"length": lengths, "distance": jnp.where(key < 0, ABSENT, batch.query_positions - key)}


def check_batch_size(batch_size: int) -> None:
    """Check a number of documents that are asked for.

    Raises:
        UserError: If there are none.
    """
    if not isinstance(batch_size, (int, np.integer)) or batch_size < 1:
        raise UserError(f"batch_size is {shown(batch_size, 40)}: it takes a whole number from 1")


def sample_distinct(
    key: Key,
    count: int,
    population: int | Int[Array, ""],
    excluded: Int[Array, " excluded"] | None = None,
) -> Int[Array, " count"]:
    """Distinct integers of [0, population), uniform and in random order, without rejection.

    The i-th draw is a rank among the integers that are left. Ranks become values by decoding a
    Lehmer code: from the last draw backwards, each draw increments the later ones that are not
    below it, in `count` vector operations.

    Args:
        key: Random key.
        count: Number of integers.
        population: Size of the range, which may be traced; at least `count` plus the number of
            excluded values.
        excluded: Distinct values that are never drawn.
    """
    if count == 0:  # the loop body, though never run, cannot index an empty array
        return jnp.zeros(0, jnp.int32)
    taken = 0 if excluded is None else excluded.shape[0]
    left = population - taken - jnp.arange(count)
    draws = jax.random.randint(key, (count,), 0, jnp.maximum(left, 1))
    index = jnp.arange(count)

    def decode(step: Array, values: Array) -> Array:
        i = count - 1 - step
        return values + ((index > i) & (values >= values[i]))

    values = jax.lax.fori_loop(0, count, decode, draws)
    if excluded is not None:
        in_order = jnp.sort(excluded)
        values = jax.lax.fori_loop(
            0, taken, lambda i, values: values + (values >= in_order[i]), values
        )
    return values
