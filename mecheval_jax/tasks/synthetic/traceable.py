"""Base of tasks on synthetic tokens: classes of tokens, their names, sampling, corruption.

The vocabulary is pad 0, bos 1, eos 2, then classes of tokens, each a range of ids. The name of a
token is the prefix of its class and its number in the class: ``k17``, ``v3``.
"""

import functools

import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Int, Key
from mecheval_jax.errors import UserError, choose
from mecheval_jax.fields import LARGEST, Section, types_of
from mecheval_jax.tasks import held_out
from mecheval_jax.tasks.base import (
    DERIVED,
    EOS,
    PAIR,
    ROLES,
    SPECIAL,
    SPLITS,
    Batch,
    SelfContained,
    check_batch_size,
    describe,
    first_query,
    following,
    query_properties,
    sample_distinct,
)
from mecheval_jax.tasks.floors import recall_floors, with_best

FIRST = EOS + 1
"""Id of the first token that is not special."""


def consecutive(**sizes: int) -> dict[str, range]:
    """Classes of tokens with consecutive ids, from the first id that is not special.

    Args:
        **sizes: Number of tokens of each class, by prefix; classes of size 0 are left out.
    """
    classes, start = {}, FIRST
    for prefix, size in sizes.items():
        if size:
            classes[prefix] = range(start, start + size)
            start += size
    return classes


def require_vocabulary(task: object, name: str, distinct: int, what: str) -> None:
    """Check that a vocabulary has so many different tokens, and another one for a corruption.

    Args:
        task: Task whose field is checked.
        name: Name of the field, a number of tokens.
        distinct: Number of different tokens in a document.
        what: What needs them, for the message: ``8 pairs``.

    Raises:
        UserError: If it has fewer.
    """
    size, need = getattr(task, name), max(distinct, 2)
    if size < need:
        raise UserError(f"task.{name} is {size}: {what} need at least {need} tokens")


def recall_roles(
    item: Int[Array, " queries"],
    answer: Int[Array, " queries"],
    divider: int | Int[Array, ""],
    query: Int[Array, " queries"],
) -> dict[str, Int[Array, " queries"]]:
    """Positions of `ROLES`, of documents that are asked for an item behind a divider.

    Args:
        item: Where the asked item stands in the document.
        answer: Where its answer stands there.
        divider: Position of the divider.
        query: Position of each query, before its answer.
    """
    return {
        "bos": jnp.zeros_like(query),
        "key": item,
        "value": answer,
        "divider": jnp.full_like(query, divider),
        "query": query,
        "answer": query + 1,
    } | following(item, answer, divider)


class SyntheticTask(SelfContained, Section, section="task"):
    """Base of such tasks: frozen dataclasses that implement `classes`, `document`, `max_length`.

    Roles, classes of roles and what is read are those of documents of keys (``k``) and values
    (``v``); tasks with others say so.

    Attributes:
        traceable: Whether sampling can be part of a compiled program.
        fresh_replacement: Whether the replacement of a corrupted token must not occur in the
            document already.
    """

    traceable = True
    fresh_replacement = False

    def check_whole(self) -> None:
        """Check that every token has an id of 32 bits."""
        if self.vocabulary_size > LARGEST:
            sizes = (name for name in types_of(type(self)) if name.endswith("vocabulary"))
            given = ", ".join(f"task.{name} {getattr(self, name)}" for name in sizes)
            raise UserError(f"{given}: {self.vocabulary_size:,} token ids, at most {LARGEST:,}")

    @property
    def classes(self) -> dict[str, range]:
        """Ids of each class of tokens, by the prefix of its names."""
        raise NotImplementedError

    def class_of(self, role: str) -> range:
        """Ids of the tokens that can stand at a role."""
        return self.classes["k" if role == "key" else "v"]

    @property
    def role_names(self) -> tuple[str, ...]:
        """Names of the roles."""
        return ROLES

    @property
    def max_length(self) -> int:
        """Length in tokens of the longest document."""
        raise NotImplementedError

    @property
    def read_length(self) -> int:
        """Number of tokens up to the last possible query: all, where documents end with it."""
        return self.max_length

    @property
    def usual_length(self) -> int:
        """The number of tokens that are read, where documents are equally long; others say so."""
        return self.read_length

    def distinct(self, key: Key, role: str, count: int) -> Int[Array, " count"]:
        """Distinct tokens of the class of a role, uniform and in random order."""
        ids = self.class_of(role)
        return ids.start + sample_distinct(key, count, len(ids))

    def document(self, key: Key, split: str) -> Batch:
        """One document of a split, as a `Batch` without the batch axis."""
        raise NotImplementedError

    # Under jit it is traced once for all its callers and, outside of a program, compiled as a
    # whole, not operation by operation.
    @functools.partial(jax.jit, static_argnames=("self", "batch_size", "split"), inline=True)
    def sample(self, key: Key, batch_size: int, split: str = "train") -> Batch:
        """A batch of documents of a split.

        Raises:
            UserError: If the split is unknown, or no documents are asked for.
        """
        check_batch_size(batch_size)
        choose("split", split, SPLITS)
        document = functools.partial(self.document, split=split)
        return jax.vmap(document)(jax.random.split(key, batch_size))

    @property
    def vocabulary_size(self) -> int:
        """Number of token ids."""
        return max(ids.stop for ids in self.classes.values())

    @property
    def corruptions(self) -> tuple[str, ...]:
        """Roles whose token can be replaced."""
        return PAIR

    @property
    def chance(self) -> float:
        """Accuracy of a uniform guess among the tokens of the answer's class."""
        return 1 / len(self.class_of("value"))

    @functools.partial(jax.jit, static_argnames=("self", "role"), inline=True)
    def corrupt(self, key: Key, batch: Batch, role: str) -> Int[Array, "batch length"]:
        """Tokens with the one at `role` (of query 0) replaced by another of its class.

        The same replacement is put at all of `corrupted_places`. It is uniform over the class
        without the original, and may equal another token of the document unless
        `fresh_replacement`.

        Raises:
            UserError: If the role cannot be corrupted.
        """
        choose("corruption", role, self.corruptions)
        ids = self.class_of(role)
        first, size = ids.start, len(ids)

        def replacement(key: Key, tokens: Array, position: Array) -> Array:
            original = tokens[position] - first
            if not self.fresh_replacement:
                return first + (original + jax.random.randint(key, (), 1, size)) % size
            # Tokens of other classes lie outside the table and are dropped.
            free = (
                jnp.ones(size, bool)
                .at[tokens - first]
                .set(False, mode="drop", wrap_negative_indices=False)
            )
            return first + held_out.choose_uniformly(key, free)

        keys = jax.random.split(key, batch.tokens.shape[0])
        replacements = jax.vmap(replacement)(keys, batch.tokens, batch.roles[role][:, 0])
        return jnp.where(self.corrupted_places(batch, role), replacements[:, None], batch.tokens)

    def name_of(self, token: int) -> str:
        """Name of a token: ``k17``, ``v3``, ``<bos>``."""
        for prefix, ids in self.classes.items():
            if token in ids:
                return f"{prefix}{token - ids.start}"
        return SPECIAL[token]

    def describe(self, batch: Batch, index: int) -> str:
        """One document in words, with the roles of its first query in brackets."""
        return describe(batch, index, self.name_of)

    def properties(self, batch: Batch) -> dict[str, Int[Array, "batch queries"]]:
        """Properties by which accuracy is sliced; see `tasks.base.query_properties`."""
        return query_properties(batch)

    def judged(self, key: Key, documents: int, split: str, first: bool) -> Batch:
        """Sampled documents for floors, of which `first` leaves only query 0 to be guessed."""
        batch = self.sample(key, documents, split)
        return first_query(batch) if first else batch

    def fitted(self, key: Key, documents: int, first: bool) -> Batch:
        """As many train documents, in which floors count; others than those of `judged`."""
        return self.judged(jax.random.fold_in(key, 1), documents, "train", first)

    def floors(
        self, key: Key, documents: int = 4096, split: str = "test", *, first: bool = False
    ) -> dict[str, float]:
        """Accuracies of guessing and of simple heuristics; see `tasks.floors`."""
        train, batch = self.fitted(key, documents, first), self.judged(key, documents, split, first)
        return with_best(recall_floors(train, batch, self.class_of("value")))


class EndingWithQuery(SyntheticTask):
    """Base of tasks whose documents end with a token that stood in them before, the query.

    Attributes:
        length: Number of tokens between ``<bos>`` and the query.
    """

    length: int

    @property
    def role_names(self) -> tuple[str, ...]:
        """Names of the roles."""
        return ("bos", *PAIR, *DERIVED, "query")

    @property
    def max_length(self) -> int:
        """Length in tokens of every document."""
        return self.length + 2

    def ask(
        self, tokens: Int[Array, " length"], item: Int[Array, "1"], target: Int[Array, "1"]
    ) -> Batch:
        """A document, whose answer is a target.

        Args:
            tokens: Tokens of the document.
            item: Where the query's token stood before.
            target: Answer.
        """
        query = jnp.array([self.length + 1])
        return Batch(
            tokens=tokens,
            query_positions=query,
            targets=target,
            weights=jnp.ones(1),
            roles={"bos": jnp.zeros_like(query), "key": item, "value": item + 1, "query": query}
            | following(item, item + 1, query),
            lengths=jnp.asarray(self.max_length),
        )
