"""Stacked recall: multi-query recall in which a pair is one token.

    <bos> k3v1 k0v4 k7v2 <eos> k0 k3        k0: v4

There is a token for every combination of a key and a value, so that nothing has to be joined across
tokens: what is left of recall is to store and to read. A mixer that recalls stacked pairs and not
pairs of two tokens lacks the binding and not the memory. The document contains neither the values
nor the keys as tokens of their own.

Ids: pad 0, bos 1, eos 2 (the divider), then pairs (key by key, ``k3v1``), keys ``k``, values ``v``.

Roles: ``bos``, ``key`` and ``value`` (both the asked pair), ``next_key`` and ``value+2`` (the two
tokens behind it), ``divider``, ``query``. A corruption replaces one half of the pair. As key and
value are one token there is no pair to bind, and no verdict.

Chance is the accuracy of a uniform value. Floors read values off pairs.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Int, Key
from mecheval_jax.errors import choose
from mecheval_jax.tasks.base import PAIR, Batch, replace_at, sample_distinct
from mecheval_jax.tasks.floors import recall_floors, with_best
from mecheval_jax.tasks.synthetic.behind_divider import BehindDivider
from mecheval_jax.tasks.synthetic.traceable import consecutive, require_vocabulary


@dataclasses.dataclass(frozen=True)
class StackedRecall(BehindDivider):
    """The task.

    Attributes:
        pairs: Number of pairs of a document.
        queries: Number of questions, about different pairs.
        key_vocabulary: Number of keys.
        value_vocabulary: Number of values.
    """

    pairs: int = 8
    queries: int = 4
    key_vocabulary: int = 16
    value_vocabulary: int = 16

    def check(self) -> None:
        """See `SyntheticTask.check`."""
        self.at_least(1, "pairs")
        within = (f"1 to {self.pairs}, the pairs", lambda value: 1 <= value <= self.pairs)
        self.require(within, "queries")
        for name in ("key_vocabulary", "value_vocabulary"):
            require_vocabulary(self, name, self.pairs, f"{self.pairs} pairs")

    @property
    def body_length(self) -> int:
        """Number of tokens of all pairs."""
        return self.pairs

    @property
    def classes(self) -> dict[str, range]:
        """Ids of pairs, keys and values."""
        keys, values = self.key_vocabulary, self.value_vocabulary
        return consecutive(p=keys * values, k=keys, v=values)

    def document(self, key: Key, split: str) -> Batch:
        """One document; all splits have the same distribution."""
        del split
        draw_keys, draw_values, draw_asked = jax.random.split(key, 3)
        keys = sample_distinct(draw_keys, self.pairs, self.key_vocabulary)
        values = sample_distinct(draw_values, self.pairs, self.value_vocabulary)
        asked = sample_distinct(draw_asked, self.queries, self.pairs)
        ids = self.classes
        return self.ask(
            ids["p"].start + keys * self.value_vocabulary + values,
            ids["k"].start + keys[asked],
            ids["v"].start + values[asked],
            {"key": 1 + asked, "value": 1 + asked},
        )

    @functools.partial(jax.jit, static_argnames=("self", "role"), inline=True)
    def corrupt(self, key: Key, batch: Batch, role: str) -> Int[Array, "batch length"]:
        """Tokens with one half of the asked pair (of query 0) replaced, the other half kept.

        Raises:
            UserError: If the role cannot be corrupted.
        """
        choose("corruption", role, self.corruptions)
        place, first = batch.roles[role][:, 0], self.classes["p"].start
        pair = jnp.take_along_axis(batch.tokens, place[:, None], axis=1)[:, 0] - first
        sizes = self.key_vocabulary, self.value_vocabulary
        halves = list(divmod(pair, self.value_vocabulary))
        half = PAIR.index(role)
        by = jax.random.randint(key, pair.shape, 1, sizes[half])
        halves[half] = (halves[half] + by) % sizes[half]
        return replace_at(batch.tokens, place, first + halves[0] * sizes[1] + halves[1])

    def name_of(self, token: int) -> str:
        """Name of a token: ``k3v1`` for a pair."""
        if token not in (pairs := self.classes["p"]):
            return super().name_of(token)
        key, value = divmod(token - pairs.start, self.value_vocabulary)
        return f"k{key}v{value}"

    def floors(
        self, key: Key, documents: int = 4096, split: str = "test", *, first: bool = False
    ) -> dict[str, float]:
        """Those of `tasks.floors`, of documents in which each pair is its value."""
        batch, ids = self.judged(key, documents, split, first), self.classes
        value = ids["v"].start + (batch.tokens - ids["p"].start) % self.value_vocabulary
        is_pair = (batch.tokens >= ids["p"].start) & (batch.tokens < ids["p"].stop)
        values = batch.replace(tokens=jnp.where(is_pair, value, batch.tokens))
        return with_best(recall_floors(self.fitted(key, documents, first), values, ids["v"]))
