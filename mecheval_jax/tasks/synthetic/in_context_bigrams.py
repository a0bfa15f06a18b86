"""In-context bigrams (Bietti et al. 2023, arXiv 2306.00802).

    <bos> w w w t a w w t a w w t

All documents share a table of bigrams: the next token is drawn from the row of the token before
it. Triggers ``t`` are the exception. Each document draws a successor ``w`` for every trigger, and
this token follows the trigger wherever it occurs in the document. The document ends with a trigger
that occurred before, the query; the answer is its successor in this document.

Each row of the table, and the distribution of the first token, is drawn from
Dirichlet(`concentration`) over triggers and tokens with the task's seed. To make the asked trigger
occur, it is put at a uniform place, or one token later if a trigger stands before that place. The
last token before the query is never a trigger.

Ids: pad 0, bos 1, eos 2 (not used), then triggers ``t``, tokens ``w``.

Roles: ``bos``, ``key`` (the last occurrence of the asked trigger before the query), ``value`` (the
token after it), ``next_key`` and ``value+2`` after that, absent from the query on, ``query``. A
corruption replaces all occurrences of the asked trigger before the query (``key``), or all tokens
that follow them (``value``).

Chance is the accuracy of a uniform token other than the triggers.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from mecheval_jax.array_types import Array, Bool, Float, Int, Key
from mecheval_jax.errors import UserError
from mecheval_jax.fields import POSITIVE
from mecheval_jax.tasks.base import BOS, Batch
from mecheval_jax.tasks.floors import recall_floors, with_best
from mecheval_jax.tasks.synthetic.traceable import FIRST, EndingWithQuery, consecutive

MOST_TOKENS = 8192
"""Of the table of bigrams, which has a row and a column for each."""


@dataclasses.dataclass(frozen=True)
class InContextBigrams(EndingWithQuery):
    """The task.

    Attributes:
        length: Number of tokens between ``<bos>`` and the query.
        triggers: Number of triggers.
        vocabulary: Number of other tokens.
        concentration: Dirichlet concentration of the rows of the table; if it is small, few
            tokens are likely to follow each token.
        seed: Seed of the table.
    """

    length: int = 62
    triggers: int = 4
    vocabulary: int = 32
    concentration: float = 1.0
    seed: int = 0

    def check(self) -> None:
        """See `SyntheticTask.check`."""
        self.at_least(4, "length")
        self.at_least(2, "triggers", "vocabulary")
        self.require(POSITIVE, "concentration")
        size = self.triggers + self.vocabulary
        if size > MOST_TOKENS:
            raise UserError(
                f"task.triggers {self.triggers} and task.vocabulary {self.vocabulary} make a table "
                f"of {size:,} x {size:,} probabilities: together at most {MOST_TOKENS:,}"
            )

    @property
    def classes(self) -> dict[str, range]:
        """Ids of triggers and of the other tokens."""
        return consecutive(t=self.triggers, w=self.vocabulary)

    def class_of(self, role: str) -> range:
        """Ids of triggers or of the other tokens."""
        return self.classes["t" if role == "key" else "w"]

    @functools.cached_property
    def table(self) -> Float[np.ndarray, "tokens tokens_too"]:
        """Probabilities of the next token, one row for each token.

        The first row, of a trigger, is used for the first token of a document; the rows of the
        other triggers are not used.
        """
        size = self.triggers + self.vocabulary
        draw = np.random.default_rng(self.seed)
        return draw.dirichlet(np.full(size, self.concentration), size=size)

    def document(self, key: Key, split: str) -> Batch:
        """One document; all splits have the same distribution."""
        del split
        draw_asked, draw_place, draw_successors, fill = jax.random.split(key, 4)
        asked = jax.random.randint(draw_asked, (), 0, self.triggers)
        place = jax.random.randint(draw_place, (), 0, self.length - 2)
        kinds, last = self.triggers, self.length - 1
        successors = kinds + jax.random.randint(draw_successors, (kinds,), 0, self.vocabulary)
        cumulative = jnp.asarray(self.table.cumsum(axis=1)[:, :-1], jnp.float32)

        def step(carry: tuple[Array, Array], given: tuple[Array, Array]) -> tuple[tuple, Array]:
            """Draw a token, given the one before and whether the asked trigger is still due."""
            previous, waiting = carry
            index, uniform = given
            row = cumulative[previous]
            low = jnp.where(index == last, row[kinds - 1], 0.0)  # triggers come first in a row
            token = (row <= low + uniform * (1 - low)).sum()
            after_trigger = (previous < kinds) & (index > 0)
            waiting |= index == place
            put = waiting & ~after_trigger
            token = jnp.where(put, asked, jnp.where(after_trigger, successors[previous], token))
            return (token, waiting & ~put), token

        uniform = jax.random.uniform(fill, (self.length,))
        start = jnp.zeros_like(asked), jnp.array(False)
        _, body = jax.lax.scan(step, start, (jnp.arange(self.length), uniform))
        ends = jnp.array([BOS]), FIRST + body, FIRST + asked[None]
        item = self.length - jnp.argmax(body[::-1] == asked, keepdims=True)
        return self.ask(jnp.concatenate(ends), item, FIRST + successors[asked][None])

    def _occurrences(self, batch: Batch) -> Bool[Array, "batch length"]:
        """A mask of the occurrences of the asked trigger before the query."""
        asked = jnp.take_along_axis(batch.tokens, batch.query_positions, axis=1)
        before = jnp.arange(batch.tokens.shape[1])[None] < batch.query_positions
        return (batch.tokens == asked) & before

    def corrupted_places(self, batch: Batch, role: str) -> Bool[Array, "batch length"]:
        """All occurrences of the asked trigger before the query, or the tokens after them."""
        places = self._occurrences(batch)
        return places if role == "key" else jnp.roll(places, 1, axis=1)

    def floors(
        self, key: Key, documents: int = 4096, split: str = "test", *, first: bool = False
    ) -> dict[str, float]:
        """Those of `tasks.floors`, and ``class_successor``: what follows any trigger."""
        batch = self.judged(key, documents, split, first)
        tokens, triggers = np.asarray(batch.tokens)[:, :-1], self.classes["t"]
        after = (tokens[:, :-1] >= triggers.start) & (tokens[:, :-1] < triggers.stop)
        times = np.zeros((len(tokens), self.vocabulary_size))
        rows = np.broadcast_to(np.arange(len(tokens))[:, None], after.shape)
        np.add.at(times, (rows[after], tokens[:, 1:][after]), 1)
        most = times == times.max(axis=1, keepdims=True)
        right = most[np.arange(len(tokens)), np.asarray(batch.targets)[:, 0]] / most.sum(axis=1)
        train = self.fitted(key, documents, first)
        floors = recall_floors(train, batch, self.class_of("value"))
        return with_best(floors | {"class_successor": float(right.mean())})

    def properties(self, batch: Batch) -> dict[str, Int[Array, "batch queries"]]:
        """Length, distance from key to query, and number of occurrences of the asked trigger."""
        number = self._occurrences(batch).sum(axis=1, keepdims=True)
        return super().properties(batch) | {"occurrences": number.astype(jnp.int32)}
