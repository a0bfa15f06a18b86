"""Compression (MAD, arXiv 2403.17844): all tokens of a document are to be given back.

    <bos> w2 w7 w7 w0 <eos> p3 p0       p3: the token at place 3, w0

Tokens are drawn uniformly with replacement, so that nothing about them can be guessed: a state
must hold log2(`vocabulary`) bits of each. Behind the divider markers of places ask for single
tokens. In MAD a decoder outside the model reads all of them from one vector; here the model reads
its own state, which for a recurrence is as narrow, and for attention is the document itself.

Ids: pad 0, bos 1, eos 2 (the divider), then tokens ``w``, markers ``p``.

Roles: ``bos``, ``value`` (the token at the asked place), ``divider``, ``query`` (the marker). There
is no key, since a token is asked for by its place alone.

Chance is the accuracy of a uniform token.
"""

import dataclasses

import jax

from mecheval_jax.array_types import Array, Int, Key
from mecheval_jax.tasks.base import Batch, sample_distinct
from mecheval_jax.tasks.synthetic.behind_divider import Copying
from mecheval_jax.tasks.synthetic.traceable import consecutive


@dataclasses.dataclass(frozen=True)
class Compression(Copying):
    """The task.

    Attributes:
        length: Number of tokens to give back.
        queries: Number of questions, about different places.
        vocabulary: Number of different tokens.
    """

    length: int = 16
    queries: int = 8
    vocabulary: int = 16

    def check(self) -> None:
        """See `SyntheticTask.check`."""
        self.at_least(1, "length")
        self.at_least(2, "vocabulary")
        within = (f"1 to {self.length}, the length", lambda value: 1 <= value <= self.length)
        self.require(within, "queries")

    @property
    def body_length(self) -> int:
        """Number of tokens to give back."""
        return self.length

    @property
    def classes(self) -> dict[str, range]:
        """Ids of tokens and of markers."""
        return consecutive(w=self.vocabulary, p=self.length)

    def document(self, key: Key, split: str) -> Batch:
        """One document; all splits have the same distribution."""
        del split
        draw, draw_asked = jax.random.split(key)
        words, markers = self.classes["w"], self.classes["p"]
        body = jax.random.randint(draw, (self.length,), words.start, words.stop)
        asked = sample_distinct(draw_asked, self.queries, self.length)
        return self.ask(body, markers.start + asked, body[asked], {"value": 1 + asked})

    def properties(self, batch: Batch) -> dict[str, Int[Array, "batch queries"]]:
        """Length, distance from the token to its query, and the place of the token, from 0."""
        value = batch.roles["value"]
        return super().properties(batch) | {
            "distance": batch.query_positions - value,
            "place": value - 1,
        }
