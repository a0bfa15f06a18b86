"""Recall by keys of two tokens: compositional recall and joint recall.

    <bos> c1 k2 v1 c2 k1 v2 c1 k1 v3 c2 k2 v4 <eos> c2 k1 c1 k1       compositional
    <bos> c1 k2 v1 k1 v3 c2 k1 v2 k2 v4 <eos> c2 k1 c1 k1             joint

A value belongs to a context ``c`` and a key ``k`` together. A document has every combination of
`contexts` and `keys`, with distinct values, so that neither token alone tells the value. In
compositional recall the two tokens of a key stand side by side. In joint recall (arXiv 2507.00449)
a context stands once before all its pairs, and its distance from them varies: no fixed shift or
short convolution joins the two.

Ids: pad 0, bos 1, eos 2 (the divider), then contexts ``c``, keys ``k``, values ``v``.

Roles: ``bos``, ``context`` and ``key`` (the two tokens of the asked key before the divider; in
joint recall the context of the whole block), ``value``, ``next_key``, ``value+2``, ``divider``,
``query`` (the second token of the question).

Chance is the accuracy of a uniform value. ``half_key`` among the floors knows one of the two
tokens.
"""

import dataclasses

import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Int, Key
from mecheval_jax.tasks.base import Batch, sample_distinct
from mecheval_jax.tasks.floors import recall_floors, with_best
from mecheval_jax.tasks.synthetic.behind_divider import BehindDivider
from mecheval_jax.tasks.synthetic.traceable import consecutive, require_vocabulary


@dataclasses.dataclass(frozen=True)
class TwoTokenRecall(BehindDivider):
    """Base of the two tasks; a subclass says where the tokens of each key stand.

    Attributes:
        contexts: Number of contexts of a document.
        keys_per_context: Number of keys of a document, each bound once in every context.
        queries: Number of questions, about different combinations.
        context_vocabulary: Number of contexts to draw from.
        key_vocabulary: Number of keys to draw from.
        value_vocabulary: Number of values to draw from.
    """

    contexts: int = 3
    keys_per_context: int = 3
    queries: int = 3
    context_vocabulary: int = 32
    key_vocabulary: int = 32
    value_vocabulary: int = 32

    question = 2

    def check(self) -> None:
        """See `SyntheticTask.check`."""
        self.at_least(2, "contexts", "keys_per_context")
        cells = self.combinations
        within = (f"1 to {cells}, the combinations", lambda value: 1 <= value <= cells)
        self.require(within, "queries")
        require_vocabulary(self, "context_vocabulary", self.contexts, f"{self.contexts} contexts")
        require_vocabulary(
            self, "key_vocabulary", self.keys_per_context, f"{self.keys_per_context} keys"
        )
        require_vocabulary(self, "value_vocabulary", cells, f"{cells} combinations")

    @property
    def combinations(self) -> int:
        """Number of values of a document."""
        return self.contexts * self.keys_per_context

    @property
    def classes(self) -> dict[str, range]:
        """Ids of contexts, keys and values."""
        return consecutive(
            c=self.context_vocabulary, k=self.key_vocabulary, v=self.value_vocabulary
        )

    def class_of(self, role: str) -> range:
        """Ids that can stand at a role."""
        return self.classes["c"] if role == "context" else super().class_of(role)

    @property
    def role_names(self) -> tuple[str, ...]:
        """Names of the roles."""
        return (*super().role_names, "context")

    @property
    def corruptions(self) -> tuple[str, ...]:
        """Roles whose token can be replaced."""
        return ("context", "key", "value")

    def places(self, key: Key) -> tuple[Int[Array, "contexts keys"], Int[Array, "contexts keys"]]:
        """Where context and key of each combination stand in the body, from 0; values follow."""
        raise NotImplementedError

    def document(self, key: Key, split: str) -> Batch:
        """One document; all splits have the same distribution."""
        del split
        draw_contexts, draw_keys, draw_values, order, draw_asked = jax.random.split(key, 5)
        contexts = self.distinct(draw_contexts, "context", self.contexts)
        keys = self.distinct(draw_keys, "key", self.keys_per_context)
        values = self.distinct(draw_values, "value", self.combinations)
        context_at, key_at = self.places(order)
        body = jnp.zeros(self.body_length, jnp.int32)
        body = body.at[context_at].set(contexts[:, None]).at[key_at].set(keys[None])
        body = body.at[key_at.ravel() + 1].set(values)

        asked = sample_distinct(draw_asked, self.queries, self.combinations)
        questions = jnp.stack(
            [contexts[asked // self.keys_per_context], keys[asked % self.keys_per_context]], axis=1
        )
        context, item = (1 + places.ravel()[asked] for places in (context_at, key_at))
        roles = {"context": context, "key": item, "value": item + 1}
        return self.ask(body, questions, values[asked], roles)

    def floors(
        self, key: Key, documents: int = 4096, split: str = "test", *, first: bool = False
    ) -> dict[str, float]:
        """Those of `tasks.floors`, and ``half_key``: any value that one of the tokens leaves."""
        batch = self.judged(key, documents, split, first)
        half = 1 / min(self.contexts, self.keys_per_context)
        train = self.fitted(key, documents, first)
        found = recall_floors(train, batch, self.class_of("value"))
        return with_best(found | {"half_key": half})


class CompositionalRecall(TwoTokenRecall):
    """Compositional recall: combinations in random order, each with both tokens of its key."""

    @property
    def body_length(self) -> int:
        """Number of tokens of all combinations."""
        return 3 * self.combinations

    def places(self, key: Key) -> tuple[Int[Array, "contexts keys"], Int[Array, "contexts keys"]]:
        """See `TwoTokenRecall.places`."""
        slots = sample_distinct(key, self.combinations, self.combinations)
        context = 3 * slots.reshape(self.contexts, self.keys_per_context)
        return context, context + 1


class JointRecall(TwoTokenRecall):
    """Joint recall: a block for each context, which stands once before its pairs."""

    @property
    def body_length(self) -> int:
        """Number of tokens of all blocks."""
        return self.contexts * (1 + 2 * self.keys_per_context)

    def places(self, key: Key) -> tuple[Int[Array, "contexts keys"], Int[Array, "contexts keys"]]:
        """See `TwoTokenRecall.places`."""
        draws = jax.random.split(key, self.contexts)
        order = jax.vmap(
            lambda draw: sample_distinct(draw, self.keys_per_context, self.keys_per_context)
        )(draws)
        context = (1 + 2 * self.keys_per_context) * jnp.arange(self.contexts)[:, None]
        return jnp.broadcast_to(context, order.shape), context + 1 + 2 * order
