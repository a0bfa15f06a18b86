"""Fuzzy recall (MAD, arXiv 2403.17844): keys and values of several tokens.

    <bos> k k v k v v v ... <eos> k k v <eos>

A key has 1 to `key_tokens` tokens and a value 1 to `value_tokens`, uniformly; the classes of the
tokens tell where one ends and the other begins. The keys of a document are distinct as sequences
but may share tokens; values are independent. One pair is asked.

Every token of the answer is a query of its own, predicted from the tokens before it: query 0 at
the last token of the asked key, query j at token j - 1 of the answer. Queries beyond the end of
the answer have weight 0.

Ids: pad 0, bos 1, eos 2 (also the divider), then tokens of keys ``k``, of values ``v``.

Roles: ``bos``, ``key`` (the last token of the asked key before the divider), ``value`` (the token
of its value that answers the query), ``next_key`` and ``value+2`` (the two tokens after it, absent
from the divider on), ``divider``, ``query``, ``answer`` (the token after the query).

Chance is the accuracy of a uniform token of values.
"""

import dataclasses

import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Int, Key
from mecheval_jax.errors import UserError
from mecheval_jax.tasks.base import ABSENT, BOS, EOS, PAD, Batch, sample_distinct
from mecheval_jax.tasks.floors import copy_next, recall_floors, with_best
from mecheval_jax.tasks.synthetic.traceable import SyntheticTask, consecutive, recall_roles

MOST_KEYS = 2**31
"""Bound of the number of keys, since a key is drawn as an int32 number."""


@dataclasses.dataclass(frozen=True)
class FuzzyRecall(SyntheticTask):
    """The task.

    Attributes:
        pairs: Number of key-value pairs of a document.
        key_tokens: Greatest number of tokens of a key.
        value_tokens: Greatest number of tokens of a value.
        key_vocabulary: Number of different tokens of keys.
        value_vocabulary: Number of different tokens of values.
    """

    pairs: int = 8
    key_tokens: int = 3
    value_tokens: int = 3
    key_vocabulary: int = 32
    value_vocabulary: int = 32

    # A key's last token is all of it where keys have one token.
    recall_like = ("copy_next",)

    def check(self) -> None:
        """See `SyntheticTask.check`."""
        self.at_least(1, "pairs", "key_tokens", "value_tokens")
        self.at_least(2, "value_vocabulary")
        # All keys of a document may have one token, and must then be distinct.
        self.at_least(max(self.pairs, 2), "key_vocabulary")
        # 31 tokens are too many of any vocabulary, and powers of more take long.
        keys = self.key_vocabulary ** min(self.key_tokens, 31)
        if keys >= MOST_KEYS:
            more = " or more" if self.key_tokens > 31 else ""
            raise UserError(
                f"task.key_tokens is {self.key_tokens}: {self.key_vocabulary} tokens make "
                f"{keys:,} such keys{more}, and fewer than {MOST_KEYS:,} can be told apart"
            )

    @property
    def classes(self) -> dict[str, range]:
        """Ids of tokens of keys and of values."""
        return consecutive(k=self.key_vocabulary, v=self.value_vocabulary)

    @property
    def max_length(self) -> int:
        """Length in tokens of a document whose keys and values are all of the greatest length."""
        return 3 + (self.pairs + 1) * (self.key_tokens + self.value_tokens)

    @property
    def read_length(self) -> int:
        """Number of tokens up to and including the last possible query."""
        return self.max_length - 2

    @property
    def usual_length(self) -> int:
        """The number of tokens that are read of documents whose items are of the mean length."""
        return 1 + (self.pairs + 1) * (2 + self.key_tokens + self.value_tokens) // 2

    def _keys(self, key: Key, lengths: Int[Array, " pairs"]) -> Int[Array, "pairs key_tokens"]:
        """Token ids of distinct keys; only the first `lengths` of each row count."""
        size, number = self.key_vocabulary, jnp.zeros(self.pairs, jnp.int32)
        for tokens in range(1, self.key_tokens + 1):
            drawn = sample_distinct(jax.random.fold_in(key, tokens), self.pairs, size**tokens)
            number = jnp.where(lengths == tokens, drawn, number)
        digits = size ** jnp.arange(self.key_tokens)
        return self.classes["k"].start + number[:, None] // digits[None] % size

    def document(self, key: Key, split: str) -> Batch:
        """One document; all splits have the same distribution."""
        del split
        # Keys and values of all pairs.
        asked, long_keys, long_values, draw_keys, draw_values = jax.random.split(key, 5)
        key_lengths, value_lengths = (
            jax.random.randint(draw, (self.pairs,), 1, most + 1)
            for draw, most in ((long_keys, self.key_tokens), (long_values, self.value_tokens))
        )
        ids = self.classes["v"]
        shape = (self.pairs, self.value_tokens)
        keys = self._keys(draw_keys, key_lengths)
        values = jax.random.randint(draw_values, shape, ids.start, ids.stop)
        # The asked pair is repeated after the divider, as one more pair.
        number = jax.random.randint(asked, (), 0, self.pairs)
        again = jnp.append(jnp.arange(self.pairs), number)
        key_lengths, value_lengths = key_lengths[again], value_lengths[again]
        size = key_lengths + value_lengths
        first = 1 + jnp.cumsum(size) - size + (jnp.arange(self.pairs + 1) == self.pairs)
        divider, end = first[-1] - 1, first[-1] + size[-1]

        # Tokens, written at their places.
        nowhere = self.max_length
        tokens = jnp.full(self.max_length, PAD).at[0].set(BOS).at[divider].set(EOS).at[end].set(EOS)
        for items, start, lengths in (
            (keys, first, key_lengths),
            (values, first + key_lengths, value_lengths),
        ):
            place = jnp.arange(items.shape[1])[None]
            at = jnp.where(place < lengths[:, None], start[:, None] + place, nowhere)
            tokens = tokens.at[at].set(items[again], mode="drop")

        # One query for each token of the answer, and its roles.
        place = jnp.arange(self.value_tokens)
        counts = place < value_lengths[-1]
        query = first[-1] + key_lengths[-1] - 1 + place
        item = jnp.full_like(query, first[number] + key_lengths[-1] - 1)
        value = item + 1 + place
        roles = recall_roles(item, value, divider, query)
        return Batch(
            tokens=tokens,
            query_positions=jnp.where(counts, query, 0),
            targets=jnp.where(counts, values[number], PAD),
            weights=counts.astype(jnp.float32),
            roles={name: jnp.where(counts, at, ABSENT) for name, at in roles.items()},
            lengths=end + 1,
        )

    def floors(
        self, key: Key, documents: int = 4096, split: str = "test", *, first: bool = False
    ) -> dict[str, float]:
        """Those of `tasks.floors`, and ``copy_next``: it looks up the last token that was read."""
        batch = self.judged(key, documents, split, first)
        floors = recall_floors(self.fitted(key, documents, first), batch, self.class_of("value"))
        return with_best(floors | {"copy_next": copy_next(batch)}, self.recall_like)

    def properties(self, batch: Batch) -> dict[str, Int[Array, "batch queries"]]:
        """Length, distance from key to query, index of the answer's token, number of them."""
        answer_tokens = batch.weights.sum(axis=1, keepdims=True).astype(jnp.int32)
        shape = batch.targets.shape
        return super().properties(batch) | {
            "answer_token": jnp.broadcast_to(jnp.arange(self.value_tokens)[None], shape),
            "answer_tokens": jnp.broadcast_to(answer_tokens, shape),
        }
