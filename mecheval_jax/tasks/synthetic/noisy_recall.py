"""Noisy recall (MAD, arXiv 2403.17844): associative recall among noise.

    <bos> n k1 v1 n n k2 v2 ... kn vn n <eos> query answer <eos>

Noise tokens stand at random places before, between and after the pairs, never within a pair.
Keys are distinct and values are distinct; one pair is asked.

Ids: pad 0, bos 1, eos 2 (also the divider), then keys ``k``, values ``v``, noise ``n``.

Roles as in associative recall: ``bos``, ``key``, ``value``, ``next_key`` (the token after the
value, noise or a key), ``value+2``, ``divider``, ``query``, ``answer``.

Chance is the accuracy of a uniform value. Guessing a value of the document gives 1/pairs.
"""

import dataclasses

import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Int, Key
from mecheval_jax.tasks.base import BOS, EOS, Batch, sample_distinct
from mecheval_jax.tasks.synthetic.traceable import (
    SyntheticTask,
    consecutive,
    recall_roles,
    require_vocabulary,
)


@dataclasses.dataclass(frozen=True)
class NoisyRecall(SyntheticTask):
    """The task.

    Attributes:
        pairs: Number of key-value pairs of a document.
        noise: Number of noise tokens of a document.
        key_vocabulary: Number of keys.
        value_vocabulary: Number of values.
        noise_vocabulary: Number of different noise tokens.
    """

    pairs: int = 8
    noise: int = 16
    key_vocabulary: int = 128
    value_vocabulary: int = 128
    noise_vocabulary: int = 16

    def check(self) -> None:
        """See `SyntheticTask.check`."""
        self.at_least(1, "pairs", "noise_vocabulary")
        self.at_least(0, "noise")
        for name in ("key_vocabulary", "value_vocabulary"):
            require_vocabulary(self, name, self.pairs, f"{self.pairs} pairs")

    @property
    def classes(self) -> dict[str, range]:
        """Ids of keys, values and noise."""
        return consecutive(k=self.key_vocabulary, v=self.value_vocabulary, n=self.noise_vocabulary)

    @property
    def _divider(self) -> int:
        return 1 + 2 * self.pairs + self.noise

    @property
    def max_length(self) -> int:
        """Length in tokens of every document."""
        return self._divider + 4

    @property
    def read_length(self) -> int:
        """Number of tokens up to and including the query."""
        return self._divider + 2

    def document(self, key: Key, split: str) -> Batch:
        """One document; all splits have the same distribution."""
        del split
        asked, draw_keys, draw_values, order, fill = jax.random.split(key, 5)
        keys = self.distinct(draw_keys, "key", self.pairs)
        values = self.distinct(draw_values, "value", self.pairs)
        slots = jnp.sort(sample_distinct(order, self.pairs, self.pairs + self.noise))
        first = 1 + slots + jnp.arange(self.pairs)  # an earlier pair has one token more
        noise, divider = self.classes["n"], self._divider
        rest = jax.random.randint(fill, (divider - 1,), noise.start, noise.stop)
        tokens = jnp.concatenate([jnp.array([BOS]), rest, jnp.full(4, EOS)])
        tokens = tokens.at[first].set(keys).at[first + 1].set(values)
        number = jax.random.randint(asked, (1,), 0, self.pairs)
        query = jnp.array([divider + 1])
        tokens = tokens.at[query].set(keys[number]).at[query + 1].set(values[number])
        item = first[number]
        return Batch(
            tokens=tokens,
            query_positions=query,
            targets=values[number],
            weights=jnp.ones(1),
            roles=recall_roles(item, item + 1, divider, query),
            lengths=jnp.asarray(self.max_length),
        )

    def properties(self, batch: Batch) -> dict[str, Int[Array, "batch queries"]]:
        """Length, distance from key to query, and number of noise tokens after the asked pair."""
        noise = self.classes["n"]
        is_noise = (batch.tokens >= noise.start) & (batch.tokens < noise.stop)
        after = jnp.arange(batch.tokens.shape[1])[None] > batch.roles["value"]
        return super().properties(batch) | {
            "noise": (is_noise & after).sum(axis=1, keepdims=True).astype(jnp.int32)
        }
