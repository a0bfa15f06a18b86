"""Memorisation (MAD, arXiv 2403.17844): facts that no document contains.

    <bos> k4 ? k1 ? k4 ? ...        at each ``?`` the value of the key before it

All documents share a table from keys to values, drawn with the task's seed. A document shows keys
without their values, so that the table has to be learnt in the weights and nothing is to be
recalled from the context. The mixer has only to carry a key one token on.

Ids: pad 0, bos 1, eos 2 (not used), then keys ``k``, the mark ``?``, values ``v``.

Roles: ``bos``, ``key`` (the asked key) and ``query`` (the mark behind it). There is no value in a
document, and so no pair to bind.

Chance is the accuracy of a uniform value. The commonest answer to what is asked is the task itself,
and no floor.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from mecheval_jax.array_types import Int, Key
from mecheval_jax.tasks.base import BOS, Batch
from mecheval_jax.tasks.floors import majority, with_best
from mecheval_jax.tasks.synthetic.traceable import SyntheticTask, consecutive


@dataclasses.dataclass(frozen=True)
class Memorization(SyntheticTask):
    """The task.

    Attributes:
        queries: Number of keys of a document, drawn with replacement, all of them asked.
        key_vocabulary: Number of keys, each a fact to learn.
        value_vocabulary: Number of values.
        seed: Seed of the table.
    """

    queries: int = 16
    key_vocabulary: int = 256
    value_vocabulary: int = 64
    seed: int = 0

    def check(self) -> None:
        """See `SyntheticTask.check`."""
        self.at_least(1, "queries")
        self.at_least(2, "key_vocabulary", "value_vocabulary")
        self.at_least(0, "seed")

    @property
    def classes(self) -> dict[str, range]:
        """Ids of keys, of the mark, and of values."""
        return consecutive(k=self.key_vocabulary, **{"?": 1}, v=self.value_vocabulary)

    @property
    def role_names(self) -> tuple[str, ...]:
        """Names of the roles."""
        return ("bos", "key", "query")

    @property
    def corruptions(self) -> tuple[str, ...]:
        """Roles whose token can be replaced."""
        return ("key",)

    @property
    def max_length(self) -> int:
        """Length in tokens of every document."""
        return 1 + 2 * self.queries

    @functools.cached_property
    def table(self) -> Int[np.ndarray, " keys"]:
        """Id of the value of each key."""
        draw = np.random.default_rng(self.seed)
        values = self.classes["v"]
        return draw.integers(values.start, values.stop, self.key_vocabulary)

    def document(self, key: Key, split: str) -> Batch:
        """One document; all splits have the same distribution."""
        del split
        keys = jax.random.randint(key, (self.queries,), 0, self.key_vocabulary)
        marks = jnp.full_like(keys, self.classes["?"].start)
        body = jnp.stack([self.classes["k"].start + keys, marks], axis=1).reshape(-1)
        query = 2 + 2 * jnp.arange(self.queries)
        return Batch(
            tokens=jnp.concatenate([jnp.array([BOS]), body]),
            query_positions=query,
            targets=jnp.asarray(self.table, jnp.int32)[keys],
            weights=jnp.ones(self.queries),
            roles={"bos": jnp.zeros_like(query), "key": query - 1, "query": query},
            lengths=jnp.asarray(self.max_length),
        )

    def floors(
        self, key: Key, documents: int = 4096, split: str = "test", *, first: bool = False
    ) -> dict[str, float]:
        """Of a uniform value, and of the commonest one in training."""
        batch = self.judged(key, documents, split, first)
        guessed = majority(self.fitted(key, documents, first), batch)
        return with_best({"uniform": self.chance, "majority": guessed})
