"""Selective copying (Mamba, arXiv 2312.00752; MAD, arXiv 2403.17844).

    <bos> n a n n b c n <eos> m m m

Tokens to remember stand at random places among noise. After the divider the i-th marker ``m`` asks
for the i-th of them; the document does not contain the answers. Which tokens to remember depends
on what they are and not on where they are, so that no fixed filter solves the task. Tokens are
drawn with replacement.

Ids: pad 0, bos 1, eos 2 (the divider), then tokens ``c``, noise ``n``, the marker ``m``.

Roles: ``bos``, ``value`` (the token that the query asks for), ``divider``, ``query`` (the marker).
There is no key, since a token is asked for by its number alone.

Chance is the accuracy of a uniform token of those to remember.
"""

import dataclasses

import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Int, Key
from mecheval_jax.tasks.base import Batch, sample_distinct
from mecheval_jax.tasks.synthetic.behind_divider import Copying
from mecheval_jax.tasks.synthetic.traceable import consecutive


@dataclasses.dataclass(frozen=True)
class SelectiveCopying(Copying):
    """The task.

    Attributes:
        copied: Number of tokens to remember.
        noise: Number of noise tokens among them.
        vocabulary: Number of different tokens to remember.
        noise_vocabulary: Number of different noise tokens.
    """

    copied: int = 8
    noise: int = 24
    vocabulary: int = 16
    noise_vocabulary: int = 1

    def check(self) -> None:
        """See `SyntheticTask.check`."""
        self.at_least(1, "copied", "noise_vocabulary")
        self.at_least(0, "noise")
        self.at_least(2, "vocabulary")

    @property
    def classes(self) -> dict[str, range]:
        """Ids of the tokens to remember, of noise, and of the marker."""
        return consecutive(c=self.vocabulary, n=self.noise_vocabulary, m=1)

    @property
    def queries(self) -> int:
        """Number of questions, one for each token to remember."""
        return self.copied

    @property
    def body_length(self) -> int:
        """Number of tokens to remember and of noise."""
        return self.copied + self.noise

    def document(self, key: Key, split: str) -> Batch:
        """One document; all splits have the same distribution."""
        del split
        order, draw, fill = jax.random.split(key, 3)
        place = jnp.sort(sample_distinct(order, self.copied, self.body_length))
        remembered, noise, marker = (self.classes[prefix] for prefix in "cnm")
        copied = jax.random.randint(draw, (self.copied,), remembered.start, remembered.stop)
        rest = jax.random.randint(fill, (self.body_length,), noise.start, noise.stop)
        markers = jnp.full(self.copied, marker.start)
        return self.ask(rest.at[place].set(copied), markers, copied, {"value": 1 + place})

    def properties(self, batch: Batch) -> dict[str, Int[Array, "batch queries"]]:
        """Length, distance from the token to its query, and the number of the token."""
        number = jnp.arange(self.copied)[None]
        return super().properties(batch) | {
            "distance": batch.query_positions - batch.roles["value"],
            "number": jnp.broadcast_to(number, batch.targets.shape),
        }
