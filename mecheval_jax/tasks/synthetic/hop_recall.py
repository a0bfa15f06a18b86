"""k-hop recall: the value of a key is the next key, so many times.

    <bos> c d a b d a b c <eos> a           two hops: a -> b -> c, the answer is c

All tokens are of one class. The pairs of a document are the steps of one cycle through as many
tokens, in random order, so that every token of the document is once a key and once a value, and no
token stands out as the end of a chain. The answer is the token `hops` steps from the asked one. A
hop can stand after the next one, so that reading once from left to right is not enough.

Ids: pad 0, bos 1, eos 2 (the divider), then tokens ``w``.

Roles: ``bos``, ``first_key`` and ``first_value`` (the pair of the first hop), ``key`` and ``value``
(that of the last hop, whose value is the answer), ``next_key``, ``value+2``, ``divider`` and
``query``.

Chance is the accuracy of a uniform token. The floor ``split`` leaves out the asked token, which is
never its own answer.
"""

import dataclasses

import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Bool, Int, Key
from mecheval_jax.tasks.base import Batch, sample_distinct
from mecheval_jax.tasks.floors import recall_floors, with_best
from mecheval_jax.tasks.synthetic.behind_divider import BehindDivider
from mecheval_jax.tasks.synthetic.traceable import consecutive, require_vocabulary


@dataclasses.dataclass(frozen=True)
class HopRecall(BehindDivider):
    """The task.

    Attributes:
        pairs: Number of pairs of a document, the length of the cycle.
        hops: Number of steps from the asked token to the answer.
        queries: Number of questions, about different tokens.
        vocabulary: Number of tokens.
    """

    pairs: int = 8
    hops: int = 2
    queries: int = 4
    vocabulary: int = 64

    def check(self) -> None:
        """See `SyntheticTask.check`."""
        self.at_least(2, "pairs")
        fewer = (f"1 to {self.pairs - 1}, fewer than the pairs", lambda hops: 0 < hops < self.pairs)
        within = (f"1 to {self.pairs}, the pairs", lambda value: 1 <= value <= self.pairs)
        self.require(fewer, "hops")
        self.require(within, "queries")
        require_vocabulary(self, "vocabulary", self.pairs, f"{self.pairs} pairs")

    @property
    def body_length(self) -> int:
        """Number of tokens of all pairs."""
        return 2 * self.pairs

    @property
    def classes(self) -> dict[str, range]:
        """Ids of the tokens."""
        return consecutive(w=self.vocabulary)

    def class_of(self, role: str) -> range:
        """Ids of the tokens, the only class."""
        del role
        return self.classes["w"]

    @property
    def role_names(self) -> tuple[str, ...]:
        """Names of the roles."""
        return (*super().role_names, "first_key", "first_value")

    def document(self, key: Key, split: str) -> Batch:
        """One document; all splits have the same distribution."""
        del split
        draw_cycle, order, draw_asked = jax.random.split(key, 3)
        cycle = self.distinct(draw_cycle, "key", self.pairs)
        item = 1 + 2 * sample_distinct(order, self.pairs, self.pairs)  # where each step stands
        body = jnp.zeros(self.body_length, jnp.int32)
        body = body.at[item - 1].set(cycle).at[item].set(jnp.roll(cycle, -1))
        asked = sample_distinct(draw_asked, self.queries, self.pairs)
        first, last = item[asked], item[(asked + self.hops - 1) % self.pairs]
        return self.ask(
            body,
            cycle[asked],
            cycle[(asked + self.hops) % self.pairs],
            {"first_key": first, "first_value": first + 1, "key": last, "value": last + 1},
        )

    def floors(
        self, key: Key, documents: int = 4096, split: str = "test", *, first: bool = False
    ) -> dict[str, float]:
        """Those of `tasks.floors`; ``split``: any token of the document but the asked one."""
        batch = self.judged(key, documents, split, first)
        train = self.fitted(key, documents, first)
        return with_best(recall_floors(train, batch, self.class_of("value"), _is_another))

    def properties(self, batch: Batch) -> dict[str, Int[Array, "batch queries"]]:
        """Length, distance from key to query, and whether every hop stands before the next one."""
        length = batch.tokens.shape[1]
        here = jnp.take_along_axis(batch.tokens, batch.query_positions, axis=1)
        before, forward = jnp.full_like(here, -1), jnp.ones_like(here)
        keys = jnp.where(jnp.arange(length) % 2 == 1, batch.tokens, -1)[:, : self.body_length + 1]
        for _ in range(self.hops):
            item = jnp.argmax(keys[:, None] == here[..., None], axis=-1)
            forward &= item > before
            before, here = item, jnp.take_along_axis(batch.tokens, item + 1, axis=1)
        return super().properties(batch) | {"forward": forward.astype(jnp.int32)}


def _is_another(batch: Batch) -> Bool[Array, "batch queries length"]:
    """Whether each token is another than the asked one."""
    asked = jnp.take_along_axis(batch.tokens, batch.query_positions, axis=1)[..., None]
    return batch.tokens[:, None] != asked
