"""Forgetting recall: multi-query recall in which some keys are bound again.

    <bos> k1 v1 k2 v2 k1 v3 ... <eos> k1 k2 ...       k1: v3

The last value of a key counts. A memory that only adds holds both values of such a key and has to
make the later one outweigh the other; one that erases, as the delta rule does, need not. Which of
the two a trained model does is what the analysis ``overwriting`` measures.

Every one of `pairs` keys is bound once, and `rebound` of them a second time; all these writes stand
in random order, and all their values are distinct. The first question asks a key that was bound
twice; the others ask any of the other keys.

Ids: pad 0, bos 1, eos 2 (the divider), then keys ``k``, values ``v``.

Roles: ``bos``, ``key`` and ``value`` (of the last time that the asked key was bound), ``next_key``
and ``value+2`` behind them, ``old_key`` and ``old_value`` (of the first time, absent if there was
one only), ``divider``, ``query``.

Chance is the accuracy of a uniform value. ``first_bound`` among the floors is the accuracy of a
model that recalls but never forgets.
"""

import dataclasses

import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Int, Key
from mecheval_jax.tasks.base import ABSENT, Batch, sample_distinct
from mecheval_jax.tasks.floors import recall_floors, with_best
from mecheval_jax.tasks.synthetic.behind_divider import BehindDivider
from mecheval_jax.tasks.synthetic.traceable import consecutive, require_vocabulary


@dataclasses.dataclass(frozen=True)
class ForgettingRecall(BehindDivider):
    """The task.

    Attributes:
        pairs: Number of different keys of a document.
        rebound: Number of keys that are bound twice.
        queries: Number of questions, about different keys.
        key_vocabulary: Number of keys.
        value_vocabulary: Number of values.
    """

    pairs: int = 8
    rebound: int = 4
    queries: int = 4
    key_vocabulary: int = 64
    value_vocabulary: int = 64

    recall_like = ("first_bound",)

    def check(self) -> None:
        """See `SyntheticTask.check`."""
        self.at_least(1, "pairs")
        within = (f"1 to {self.pairs}, the pairs", lambda value: 1 <= value <= self.pairs)
        self.require(within, "rebound", "queries")
        require_vocabulary(self, "key_vocabulary", self.pairs, f"{self.pairs} keys")
        require_vocabulary(self, "value_vocabulary", self.writes, f"{self.writes} writes")

    @property
    def writes(self) -> int:
        """Number of key-value pairs that stand in a document."""
        return self.pairs + self.rebound

    @property
    def body_length(self) -> int:
        """Number of tokens of all writes."""
        return 2 * self.writes

    @property
    def classes(self) -> dict[str, range]:
        """Ids of keys and values."""
        return consecutive(k=self.key_vocabulary, v=self.value_vocabulary)

    @property
    def role_names(self) -> tuple[str, ...]:
        """Names of the roles."""
        return (*super().role_names, "old_key", "old_value")

    @property
    def corruptions(self) -> tuple[str, ...]:
        """Roles whose token can be replaced."""
        return ("key", "value", "old_value")

    def document(self, key: Key, split: str) -> Batch:
        """One document; all splits have the same distribution."""
        del split
        draw_keys, draw_values, order, draw_asked = jax.random.split(key, 4)
        keys = self.distinct(draw_keys, "key", self.pairs)
        values = self.distinct(draw_values, "value", self.writes)  # by slot
        slots = sample_distinct(order, self.writes, self.writes)
        once, again = slots[: self.pairs], slots[self.pairs :]
        body = jnp.zeros(self.body_length, jnp.int32).at[1::2].set(values)
        body = body.at[2 * once].set(keys).at[2 * again].set(keys[: self.rebound])

        # The slot at which each key was bound last, and before that.
        last = once.at[: self.rebound].max(again)
        old = (
            jnp.full_like(once, ABSENT)
            .at[: self.rebound]
            .set(jnp.minimum(once[: self.rebound], again))
        )
        others = 1 + sample_distinct(draw_asked, self.queries - 1, self.pairs - 1)
        asked = jnp.concatenate([jnp.zeros(1, jnp.int32), others])
        last, old = last[asked], old[asked]
        absent = old == ABSENT
        item = 1 + 2 * last
        roles = {
            "key": item,
            "value": item + 1,
            "old_key": jnp.where(absent, ABSENT, 1 + 2 * old),
            "old_value": jnp.where(absent, ABSENT, 2 + 2 * old),
        }
        return self.ask(body, keys[asked], values[last], roles)

    def floors(
        self, key: Key, documents: int = 4096, split: str = "test", *, first: bool = False
    ) -> dict[str, float]:
        """Those of `tasks.floors`, and ``first_bound``, which is right for keys bound once."""
        batch = self.judged(key, documents, split, first)
        once = float(jnp.average(batch.roles["old_value"] == ABSENT, weights=batch.weights))
        train = self.fitted(key, documents, first)
        floors = recall_floors(train, batch, self.class_of("value"))
        return with_best(floors | {"first_bound": once}, self.recall_like)

    def properties(self, batch: Batch) -> dict[str, Int[Array, "batch queries"]]:
        """Length, distance from key to query, and whether the key was bound before."""
        rebound = (batch.roles["old_value"] != ABSENT).astype(jnp.int32)
        return super().properties(batch) | {"rebound": rebound}
