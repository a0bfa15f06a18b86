"""Associative recall (AR), as in arXiv 2505.15105.

    <bos> k1 v1 k2 v2 ... kn vn <eos> query answer [query answer ...] <eos>

Keys are drawn without replacement, and so are values, independently of the keys. The answer to a
key is the value after it. Ids: pad 0, bos 1, eos 2 (also the divider), then keys, values, fillers.

Roles are named by function: ``key`` is the occurrence before the divider of the item that is
asked, ``value`` that of the answer. With `reverse` a value is asked, so ``key`` is a value token
and ``value`` the key token before it. ``next_key`` is the token after ``value``, ``value+2`` the
one after that and, with fillers, ``next_pair_key`` the key of the next pair. A role that would
fall on the divider, the query or ``key`` is absent from that document.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from mecheval_jax.array_types import Array, Bool, Int, Key
from mecheval_jax.errors import UserError
from mecheval_jax.tasks import held_out
from mecheval_jax.tasks.base import BOS, EOS, PAD, ROLES, SPLITS, Batch, free_of, sample_distinct
from mecheval_jax.tasks.floors import recall_floors, with_best
from mecheval_jax.tasks.synthetic.traceable import (
    FIRST,
    SyntheticTask,
    consecutive,
    recall_roles,
    require_vocabulary,
)

FIRST_KEY = FIRST

AT_ONCE = 2**18
"""Greatest number of cells that are hashed at once where they are counted, if a key has no more."""


@dataclasses.dataclass(frozen=True)
class AssociativeRecall(SyntheticTask):
    """The task; the defaults are "AR 32" of arXiv 2505.15105.

    Attributes:
        pairs: Greatest number of key-value pairs of a document.
        min_pairs: Smallest number of pairs; None for always `pairs`. The number is uniform
            between the two.
        key_vocabulary: Number of keys.
        value_vocabulary: Number of values.
        reverse: Whether values are asked, and their keys are the answers.
        filler: Number of filler tokens between two pairs.
        filler_vocabulary: Number of fillers.
        queries: Number of queries per document, about different pairs.
        held_out: Fraction of the (key, value) cells that only the test split asks, and that
            train and dev never ask.
        fresh_replacement: Whether the replacement of a corrupted token must not occur in the
            document already.
        seed: Seed of the held-out cells.
    """

    pairs: int = 16
    min_pairs: int | None = None
    key_vocabulary: int = 4096
    value_vocabulary: int = 4096
    reverse: bool = False
    filler: int = 0
    filler_vocabulary: int = 64
    queries: int = 1
    held_out: float = 0.0
    fresh_replacement: bool = False
    seed: int = 0

    def check(self) -> None:
        """See `SyntheticTask.check`."""
        self.at_least(1, "pairs", "filler_vocabulary")
        spare = 1 if self.fresh_replacement else 0
        for name in ("key_vocabulary", "value_vocabulary"):
            require_vocabulary(self, name, self.pairs + spare, f"{self.pairs} pairs")
        within = (f"1 to {self.pairs}, one per pair", lambda value: 1 <= value <= self.pairs)
        self.require(within, "queries")
        ends = f"{self.queries} (the queries) to {self.pairs} (the pairs)"
        self.require((ends, lambda n: n is None or self.queries <= n <= self.pairs), "min_pairs")
        self.require(("0 or more tokens between two pairs", lambda n: n >= 0), "filler")
        self.require(("a fraction, 0 <= held_out < 1", lambda x: 0 <= x < 1), "held_out")
        if self.held_out:
            for split in SPLITS:
                self._eligible_keys(split)

    @property
    def _stride(self) -> int:
        return 2 + self.filler

    @property
    def classes(self) -> dict[str, range]:
        """Ids of keys, values and fillers."""
        return consecutive(
            k=self.key_vocabulary,
            v=self.value_vocabulary,
            f=self.filler_vocabulary if self.filler else 0,
        )

    def class_of(self, role: str) -> range:
        """Ids that can stand at the role ``key`` or ``value``."""
        return self.classes["k" if (role == "key") != self.reverse else "v"]

    @property
    def first_value(self) -> int:
        """Id of the first value."""
        return self.classes["v"].start

    @property
    def role_names(self) -> tuple[str, ...]:
        """Names of the roles, with fillers also ``next_pair_key``."""
        return (*ROLES, "next_pair_key") if self.filler else ROLES

    @property
    def max_length(self) -> int:
        """Length in tokens of the longest document."""
        return self._divider(self.pairs) + 2 + 2 * self.queries

    @property
    def read_length(self) -> int:
        """Number of tokens up to and including the last possible query."""
        return self._read_of(self.pairs)

    @property
    def usual_length(self) -> int:
        """The number of tokens that are read of documents with the median number of pairs."""
        return self._read_of((self._fewest + self.pairs) // 2)

    @property
    def _fewest(self) -> int:
        """Smallest number of pairs."""
        return self.pairs if self.min_pairs is None else self.min_pairs

    def _read_of(self, pairs: int) -> int:
        """Number of tokens up to the last query, in documents of so many pairs."""
        return int(self._divider(pairs)) + 2 * self.queries

    def _divider(self, pairs: int | Array) -> int | Array:
        """Position of the divider after so many pairs."""
        return 1 + pairs * self._stride - self.filler

    @functools.cache  # noqa: B019 - a handful of frozen tasks live as long as the program
    def _eligible_keys(self, split: str) -> np.ndarray | None:
        """Keys that can be asked in a split; None for all.

        A key needs as many eligible values as there are queries, since earlier queries may
        have taken some.
        """
        if not self.held_out:
            return None
        held = self._held_out_values
        rows = held if split == "test" else self.value_vocabulary - held
        eligible = np.flatnonzero(rows >= self.queries)
        if len(eligible) < self.queries:
            raise UserError(
                f"task.held_out {self.held_out} with {self.key_vocabulary} keys and "
                f"{self.value_vocabulary} values "
                f"leaves {len(eligible)} keys that split {split!r} could ask, "
                f"and {self.queries} are needed"
            )
        return None if len(eligible) == self.key_vocabulary else eligible.astype(np.int32)

    @functools.cached_property
    def _held_out_values(self) -> Int[np.ndarray, " keys"]:
        """Number of values that are held out together with each key.

        It is counted on the host, since a program may have accelerators alone (``JAX_PLATFORMS``).
        """
        values, counts = np.arange(self.value_vocabulary), []
        at_once = max(1, AT_ONCE // self.value_vocabulary)
        for first in range(0, self.key_vocabulary, at_once):
            keys = np.arange(first, min(first + at_once, self.key_vocabulary))
            cells = np.meshgrid(keys, values, indexing="ij")
            counts.append(held_out.is_held_out(self.seed, self.held_out, *cells).sum(axis=1))
        return np.concatenate(counts)

    def _askable(self, split: str, key: Int[Array, ""]) -> Bool[Array, " values"]:
        """Whether each value may be asked together with `key` in a split."""
        values = jnp.arange(self.value_vocabulary)
        forbidden = held_out.is_held_out(
            self.seed, self.held_out, jnp.broadcast_to(key, values.shape), values
        )
        return forbidden if split == "test" else ~forbidden

    def _asked(self, key: Key, split: str) -> tuple[Int[Array, " queries"], Int[Array, " queries"]]:
        """Keys and values of the asked pairs, drawn before all others."""
        draw_keys, draw_values = jax.random.split(key)
        eligible = self._eligible_keys(split)
        population = self.key_vocabulary if eligible is None else len(eligible)
        keys = sample_distinct(draw_keys, self.queries, population)
        if eligible is not None:
            keys = jnp.asarray(eligible)[keys]
        if not self.held_out:
            return keys, sample_distinct(draw_values, self.queries, self.value_vocabulary)
        values = []
        for i, draw in enumerate(jax.random.split(draw_values, self.queries)):
            allowed = self._askable(split, keys[i])
            for earlier in values:
                allowed = allowed & (jnp.arange(self.value_vocabulary) != earlier)
            values.append(held_out.choose_uniformly(draw, allowed))
        return keys, jnp.stack(values)

    def document(self, key: Key, split: str) -> Batch:
        """One document; the asked pairs are drawn first, then the others."""
        asked, others, order, how_many, fill = jax.random.split(key, 5)
        pairs = jax.random.randint(how_many, (), self._fewest, self.pairs + 1)

        asked_keys, asked_values = self._asked(asked, split)
        slots = sample_distinct(order, self.queries, pairs)
        rest_keys, rest_values = (
            sample_distinct(draw, self.pairs - self.queries, population, excluded)
            for draw, population, excluded in zip(
                jax.random.split(others),
                (self.key_vocabulary, self.value_vocabulary),
                (asked_keys, asked_values),
                strict=True,
            )
        )
        # The asked pairs go to their slots, the others fill the rest in order.
        slot = jnp.arange(self.pairs)
        is_asked = slot[:, None] == slots[None]
        before = (slots[None] < slot[:, None]).sum(axis=1)
        source = jnp.where(
            is_asked.any(axis=1), is_asked.argmax(axis=1), self.queries + slot - before
        )
        keys = FIRST_KEY + jnp.concatenate([asked_keys, rest_keys])[source]
        values = self.first_value + jnp.concatenate([asked_values, rest_values])[source]
        return self._lay_out(keys, values, pairs, slots, fill)

    def _lay_out(self, keys: Array, values: Array, pairs: Array, slots: Array, key: Key) -> Batch:
        """Tokens and roles of a document.

        Args:
            keys: Token id of the key in each slot.
            values: Token id of the value in each slot.
            pairs: Number of slots that are used.
            slots: Slots of the asked pairs.
            key: Random key of the fillers.
        """
        # Pairs and fillers up to the divider, padding after it.
        body = jnp.stack([keys, values], axis=1)
        if self.filler:
            shape = (self.pairs, self.filler)
            noise = self.classes["f"].start + jax.random.randint(
                key, shape, 0, self.filler_vocabulary
            )
            body = jnp.concatenate([body, noise], axis=1)
        divider = self._divider(pairs)
        index = jnp.arange(self.max_length)
        inside = jnp.concatenate([jnp.array([BOS]), body.reshape(-1)])
        inside = jnp.pad(inside[: self.max_length], (0, max(0, self.max_length - inside.size)))
        tokens = jnp.where(index < divider, inside, PAD)
        lengths = divider + 2 + 2 * self.queries
        tokens = jnp.where((index == divider) | (index == lengths - 1), EOS, tokens)

        # Queries and answers after the divider.
        items, answers = (values, keys) if self.reverse else (keys, values)
        query = divider + 1 + 2 * jnp.arange(self.queries)
        for i in range(self.queries):
            tokens = jnp.where(index == query[i], items[slots[i]], tokens)
            tokens = jnp.where(index == query[i] + 1, answers[slots[i]], tokens)

        # Roles of the asked pairs.
        first = 1 + slots * self._stride
        item, answer = (first + 1, first) if self.reverse else (first, first + 1)
        # With `reverse` the next key is always the asked item, so always absent.
        roles = recall_roles(item, answer, divider, query)
        if self.filler:
            roles["next_pair_key"] = free_of(item, divider, first + self._stride)
        return Batch(
            tokens=tokens,
            query_positions=query,
            targets=answers[slots],
            weights=jnp.ones(self.queries),
            roles=roles,
            lengths=lengths,
        )

    def floors(
        self, key: Key, documents: int = 4096, split: str = "test", *, first: bool = False
    ) -> dict[str, float]:
        """Those of `tasks.floors`; with held-out cells also ``split``: the asked ones are known."""
        batch = self.judged(key, documents, split, first)
        may_pair = functools.partial(self._may_pair, split) if self.held_out else None
        train = self.fitted(key, documents, first)
        return with_best(recall_floors(train, batch, self.class_of("value"), may_pair))

    def _may_pair(self, split: str, batch: Batch) -> Bool[Array, "batch queries length"]:
        """Whether a split asks each token together with what is asked."""
        keys, values = self.classes["k"].start, self.classes["v"].start
        asked = jnp.take_along_axis(batch.tokens, batch.query_positions, axis=1)[..., None]
        tokens = batch.tokens[:, None]
        sides = (tokens - keys, asked - values) if self.reverse else (asked - keys, tokens - values)
        sides = (jnp.broadcast_to(s, (*asked.shape[:2], tokens.shape[-1])) for s in sides)
        forbidden = held_out.is_held_out(self.seed, self.held_out, *sides)
        return forbidden if split == "test" else ~forbidden

    def properties(self, batch: Batch) -> dict[str, Int[Array, "batch queries"]]:
        """Length, distance from key to query, and number of pairs of the document."""
        divider = batch.roles["divider"]
        return super().properties(batch) | {"pairs": (divider - 1 + self.filler) // self._stride}
