"""Induction heads (H3, arXiv 2212.14052; Mamba, arXiv 2312.00752).

    <bos> w w w ! a w w w !

A trigger ``!`` stands once at a random place among random tokens and again at the end. The answer
is the token that followed the first trigger.

Ids: pad 0, bos 1, eos 2 (not used), the trigger, then tokens ``w``.

Roles: ``bos``, ``key`` (the first trigger), ``value`` (the token after it), ``next_key`` and
``value+2`` after that, absent from the query on, and ``query`` (the last trigger). Since there is
only one trigger, a corrupted key is an ordinary token; the document then does not determine the
answer.

Chance is the accuracy of a uniform token other than the trigger.
"""

import dataclasses

import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Key
from mecheval_jax.tasks.base import BOS, Batch
from mecheval_jax.tasks.synthetic.traceable import EndingWithQuery, consecutive


@dataclasses.dataclass(frozen=True)
class InductionHeads(EndingWithQuery):
    """The task.

    Attributes:
        length: Number of tokens between ``<bos>`` and the last trigger.
        vocabulary: Number of different tokens, the trigger not counted.
    """

    length: int = 62
    vocabulary: int = 16

    def check(self) -> None:
        """See `SyntheticTask.check`."""
        self.at_least(2, "length", "vocabulary")

    @property
    def classes(self) -> dict[str, range]:
        """Ids of the trigger and of the other tokens."""
        return consecutive(**{"!": 1}, w=self.vocabulary)

    def class_of(self, role: str) -> range:
        """Ids of the tokens other than the trigger, for ``key`` with the trigger."""
        words = self.classes["w"]
        return range(words.start - 1, words.stop) if role == "key" else words

    def document(self, key: Key, split: str) -> Batch:
        """One document; all splits have the same distribution."""
        del split
        place, fill = jax.random.split(key)
        words, trigger = self.classes["w"], jnp.array([self.classes["!"].start])
        item = jax.random.randint(place, (1,), 1, self.length)
        body = jax.random.randint(fill, (self.length,), words.start, words.stop)
        tokens = jnp.concatenate([jnp.array([BOS]), body, trigger]).at[item].set(trigger)
        return self.ask(tokens, item, tokens[item + 1])
