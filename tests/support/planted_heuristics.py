"""Models that answer without recall: each is one of the heuristics of `tasks.floors.KINDS`.

One layer decodes all tokens of the document, guesses at every position what the heuristic would
name there, and writes that token; the other layer writes nothing. What a heuristic has counted in
training is a table of its parameters, so that all seeds of one heuristic are one program.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from mecheval_jax.ground_truth.planted import ANSWER, TASK, Planted, as_arrays, blank, directions
from mecheval_jax.models.language_model import ModelConfig
from mecheval_jax.ops.positions import at_positions
from mecheval_jax.tasks.base import EOS, Batch
from mecheval_jax.tasks.documents.documents import Documents
from mecheval_jax.tasks.packed_floors import FURTHEST
from mecheval_jax.tasks.synthetic.in_context_bigrams import InContextBigrams
from mecheval_jax.tasks.synthetic.two_token_recall import CompositionalRecall
from mecheval_jax.tasks.treecall.queries import QUERY_TYPES
from mecheval_jax.tasks.treecall.treecall import Treecall
from tests.support.planted import task_with
from tests.support.planted_order import value_first

NONE = range(1, 1)
"""Ids of no token."""


@dataclasses.dataclass(frozen=True)
class Read:
    """What a heuristic reads at every position t, of documents with tokens at s.

    Attributes:
        tokens: [document, s]
        before: [document, t, s] Whether t is at or behind s, and s before the divider.
        candidates: [document, t, s] The same, of tokens that can be an answer.
        asked: [document, t] The token at t, or the one before it where t tells its type.
    """

    tokens: jax.Array
    before: jax.Array
    candidates: jax.Array
    asked: jax.Array

    @classmethod
    def of(cls, tokens: jax.Array, answers: range, types: range = NONE) -> "Read":
        """What is read of some documents, whose answers and types of queries have these ids."""
        index = jnp.arange(tokens.shape[1])
        inside = (tokens == EOS).cumsum(axis=1) == 0
        before = (index[None, :, None] >= index[None, None]) & inside[:, None]
        is_answer = (tokens >= answers.start) & (tokens < answers.stop)
        is_type = (tokens >= types.start) & (tokens < types.stop)
        asked = jnp.where(is_type, jnp.roll(tokens, 1, axis=1), tokens)
        return cls(tokens, before, before & is_answer[:, None], asked)

    def at(self, positions: jax.Array) -> jax.Array:
        """Tokens at positions [document, t]; the first token where there is none."""
        inside = (positions >= 0) & (positions < self.tokens.shape[1])
        return jnp.take_along_axis(self.tokens, jnp.where(inside, positions, 0), axis=1)

    def first(self, where: jax.Array) -> jax.Array:
        """First s at which a mask [document, t, s] holds; -1 for none."""
        return jnp.where(where.any(axis=-1), where.argmax(axis=-1), -1)

    def last(self, where: jax.Array) -> jax.Array:
        """Last s, likewise."""
        back = where[..., ::-1].argmax(axis=-1)
        return jnp.where(where.any(axis=-1), where.shape[-1] - 1 - back, -1)

    def most(self, where: jax.Array) -> jax.Array:
        """An s whose token is the commonest of those where a mask holds."""
        same = (self.tokens[:, :, None] == self.tokens[:, None]).astype(jnp.int32)
        times = jnp.einsum("dts,dsz->dtz", where.astype(jnp.int32), same)
        return jnp.where(where, times, -1).argmax(axis=-1)

    @property
    def noise(self) -> jax.Array:
        """A number [document, t] that any token changes, as good as random."""
        index = jnp.arange(self.tokens.shape[1])
        return (self.tokens * ((7 * index + 3) ** 2)[None]).cumsum(axis=1) // 3

    def random(self, where: jax.Array) -> jax.Array:
        """An s where a mask holds, as good as random."""
        rank = self.noise % jnp.maximum(where.sum(axis=-1), 1)
        return self.first(where & (where.cumsum(axis=-1) == rank[..., None] + 1))

    @property
    def occurrences(self) -> jax.Array:
        """Mask [document, t, s] of the s before t that have the asked token."""
        index = jnp.arange(self.tokens.shape[1])
        same = self.tokens[:, None] == self.asked[..., None]
        return self.before & same & (index[None] < index[:, None])[None]

    @property
    def occurrence(self) -> jax.Array:
        """The last one; -1 for none."""
        return self.last(self.occurrences)

    def beside(self, distance: int | jax.Array) -> jax.Array:
        """The token so far from that, if it stands before the divider; else the first token."""
        place = jnp.where(self.occurrence < 0, -1, self.occurrence + distance)
        return self.at(jnp.where(place < self.before.sum(axis=-1), place, -1))


def _by_place(read: Read) -> tuple[jax.Array, jax.Array]:
    """Number of tokens that are read, and of those from the asked one on."""
    length = read.before.sum(axis=-1)
    return length, length - read.occurrence


def _by_tokens(read: Read) -> tuple[jax.Array, jax.Array]:
    """The asked token and the one after its last occurrence."""
    return read.asked, read.beside(1)


def _eliminated(read: Read) -> jax.Array:
    """Candidates that were no answer before: those do not stand behind the divider."""
    index = jnp.arange(read.tokens.shape[1])
    behind = (read.tokens == EOS).cumsum(axis=1) > 0
    given = (read.tokens[:, :, None] == read.tokens[:, None]) & behind[:, None]
    # [document, s, z]: the token at s stands at z as an answer.
    known = jnp.einsum("dsz,tz->dts", given.astype(jnp.int32), index[:, None] >= index[None])
    return read.candidates & (known == 0)


TYPED = ("copy_next", "copy_previous", "copy_query", "copy_first", "copy_last", "table")
"""What `by_type` chooses from; ``table`` is the commonest answer to what is asked."""

Rule = Callable[[Read, jax.Array, range], jax.Array]
RULES: dict[str, Rule] = {
    "uniform": lambda read, table, answers: answers.start + read.noise % len(answers),
    "in_document": lambda read, table, answers: read.at(read.random(read.candidates)),
    "frequent": lambda read, table, answers: read.at(read.most(read.candidates)),
    "elimination": lambda read, table, answers: read.at(read.random(_eliminated(read))),
    "split": lambda read, table, answers: read.at(
        read.random(
            read.candidates & (table[read.asked[..., None], read.tokens[:, None]] > 0)
        )
    ),
    "from_start": lambda read, table, answers: read.at(jnp.full_like(read.tokens, table[0, 0])),
    "from_query": lambda read, table, answers: read.at(
        jnp.broadcast_to(jnp.arange(read.tokens.shape[1]) + table[0, 0], read.tokens.shape)
    ),
    "half_key": lambda read, table, answers: read.at(
        read.random(read.candidates & jnp.roll(read.occurrences, 1, axis=-1))
    ),
    "majority": lambda read, table, answers: jnp.full_like(read.tokens, table[0, 0]),
    "per_query_majority": lambda read, table, answers: table[read.asked, 0],
    "bigram": lambda read, table, answers: table[read.asked, 0],
    "class_successor": lambda read, table, answers: read.at(
        read.most(read.candidates & (table[jnp.roll(read.tokens, 1, axis=1), 0] > 0)[:, None])
    ),
    "first": lambda read, table, answers: read.at(read.first(read.candidates)),
    "last": lambda read, table, answers: read.at(read.last(read.candidates)),
    "copy_query": lambda read, table, answers: read.asked,
    "copy_next": lambda read, table, answers: read.beside(1),
    "copy_previous": lambda read, table, answers: read.beside(-1),
    "offset": lambda read, table, answers: read.beside(table[_by_place(read)]),
    "offset_by_tokens": lambda read, table, answers: read.beside(table[_by_tokens(read)]),
}  # fmt: skip
RULES |= {"copy_first": RULES["first"], "copy_last": RULES["last"]}


def _typed(read: Read, table: jax.Array, answers: range) -> jax.Array:
    """For each type of query the guess that is best in training."""
    guesses = [RULES[name](read, table[:, 1:], answers) for name in TYPED[:-1]]
    guesses.append(table[read.asked, 1])
    return jnp.take_along_axis(jnp.stack(guesses), table[read.tokens, 0][None], axis=0)[0]


RULES["by_type"] = _typed


class Guesser(nn.Module):
    """Guesses at every position by one of `RULES`.

    Attributes:
        width: Number of channels.
        vocabulary: Number of tokens.
        rule: Name of the rule.
        answers_from, answers_to: First token that can be an answer, and the one after the last.
        types_from, types_to: The same of the types of queries.
        rows, columns: Shape of the table.
    """

    width: int
    vocabulary: int
    rule: str
    answers_from: int
    answers_to: int
    types_from: int = 1
    types_to: int = 1
    rows: int = 1
    columns: int = 1

    @nn.nowrap
    def local_reach(self) -> dict[str, float]:
        """Nothing local: it reads the whole document, as attention does."""
        return {}

    @nn.compact
    def __call__(self, x: jax.Array, positions: jax.Array | None = None) -> jax.Array:
        """Write the guess at each position."""
        shape = (self.vocabulary, self.width)
        read, write = (self.param(name, nn.initializers.zeros, shape) for name in ("read", "write"))
        table = self.param("table", nn.initializers.zeros, (self.rows, self.columns))
        answers = range(self.answers_from, self.answers_to)
        types = range(self.types_from, self.types_to)
        tokens = jnp.einsum("dsw,vw->dsv", x, read).argmax(axis=-1)
        guess = RULES[self.rule](
            Read.of(tokens, answers, types), table.round().astype(jnp.int32), answers
        )
        return at_positions(write[guess], positions)


@dataclasses.dataclass(frozen=True)
class Counted:
    """Train documents, of which a heuristic has counted something.

    Attributes:
        task: Their task.
        batch: The documents.
        read: What a heuristic reads of them.
        rows: [document] Index of each.
        query: [document] Position of query 0.
        answer: [document] Its answer.
        asked: [document] What is asked.
    """

    task: Any
    batch: Batch
    read: Read
    rows: np.ndarray
    query: np.ndarray
    answer: np.ndarray
    asked: np.ndarray

    @classmethod
    def of(cls, task: Any) -> "Counted":
        """Count train documents of a task."""
        batch = task.sample(jax.random.key(99), 8192, "train")
        read = Read.of(batch.tokens, *_classes(task))
        query, rows = np.asarray(batch.query_positions)[:, 0], np.arange(8192)
        answer, asked = np.asarray(batch.targets)[:, 0], np.asarray(read.asked)[rows, query]
        return cls(task, batch, read, rows, query, answer, asked)

    def here(self, values: jax.Array) -> np.ndarray:
        """Values [document, t] at the query."""
        return np.asarray(values)[self.rows, self.query]

    def commonest(self, given: np.ndarray, following: np.ndarray) -> np.ndarray:
        """For every token given the commonest that follows; the commonest of all if none does."""
        size = self.task.vocabulary_size
        times = np.zeros((size, size), int)
        np.add.at(times, (given, following), 1)
        times = np.where(times.sum(axis=1, keepdims=True) > 0, times, times.sum(axis=0))
        return times.argmax(axis=1)[:, None]

    def majority(self) -> np.ndarray:
        """The commonest answer."""
        return np.bincount(self.answer).argmax()[None, None]

    def by_query(self) -> np.ndarray:
        """For every token the commonest answer to it."""
        return self.commonest(self.asked, self.answer)

    def successors(self) -> np.ndarray:
        """For every token the commonest that follows it in the document."""
        tokens, before = np.asarray(self.batch.tokens), np.asarray(self.read.candidates[:, -1])
        inside = before[:, :-1] & before[:, 1:]
        return self.commonest(tokens[:, :-1][inside], tokens[:, 1:][inside])

    def distances(self, described: Callable[[Read], tuple[jax.Array, jax.Array]]) -> np.ndarray:
        """For every description of a query the distance that is right most often."""
        cells = [self.here(values) for values in described(self.read)]
        tried = np.arange(-FURTHEST, FURTHEST + 1)
        right = np.stack([self.here(self.read.beside(int(d))) == self.answer for d in tried])
        size = (max(self.task.vocabulary_size, self.task.max_length) + 2,) * 2
        hits = np.zeros((*size, len(tried)))
        np.add.at(hits, tuple(cells), right.T)
        asked = hits.sum(axis=-1, keepdims=True) > 0
        return tried[np.where(asked, hits, right.sum(axis=1)).argmax(axis=-1)]

    def best_of_types(self) -> np.ndarray:
        """For every type the index in `TYPED` that is right most often, beside `by_query`."""
        table = self.by_query()
        guesses = [self.here(RULES[name](self.read, table, NONE)) for name in TYPED[:-1]]
        right = np.stack([*guesses, table[self.asked, 0]]) == self.answer
        kinds = np.asarray(self.batch.tokens)[self.rows, self.query]
        best = np.zeros((self.task.vocabulary_size, 1), int)
        for kind in np.unique(kinds):
            best[kind] = right[:, kinds == kind].mean(axis=1).argmax()
        return np.concatenate([best, table], axis=1)


def _allowed(task: Any) -> np.ndarray:
    """Which value the test split may ask with each key."""
    table = np.zeros((task.vocabulary_size,) * 2)
    for number, key in enumerate(task.classes["k"]):
        table[key, list(task.classes["v"])] = task._askable("test", jnp.asarray(number))
    return table


def _of(task: Any, *tokens: int) -> np.ndarray:
    """A table that marks some tokens."""
    return np.isin(np.arange(task.vocabulary_size), tokens)[:, None]


def _commonest_place(task: Any, anchor: str) -> np.ndarray:
    """The distance of the value from a role that most train documents have."""
    roles = task.sample(jax.random.key(99), task.sizes()["train"], "train").roles
    distances, times = np.unique(roles["value"] - roles[anchor], return_counts=True)
    return distances[times.argmax()][None, None]


BIGRAMS = InContextBigrams(length=22, triggers=3, vocabulary=8, concentration=0.5)
TREES = Treecall(longest=26)
TYPES = Treecall(longest=26, query_types=QUERY_TYPES, seed=3)
FILLED_BEHIND = functools.partial(value_first, often=2, fillers_at=2)
FILLED_BEFORE = functools.partial(value_first, often=2, fillers_at=1)
NOTHING = lambda task: np.zeros((1, 1))

HEURISTICS: Mapping[str, tuple[Any, Callable[[Any], np.ndarray]]] = {
    "uniform": (TASK, NOTHING),
    "in_document": (TASK, NOTHING),
    "frequent": (BIGRAMS, NOTHING),
    "elimination": (task_with(queries=4), NOTHING),
    "split": (task_with(held_out=0.5), _allowed),
    "half_key": (CompositionalRecall(3, 3, 1, 5, 5, 10), NOTHING),
    "majority": (TREES, lambda task: Counted.of(task).majority()),
    "per_query_majority": (TREES, lambda task: Counted.of(task).by_query()),
    "bigram": (TREES, lambda task: Counted.of(task).successors()),
    "class_successor": (BIGRAMS, lambda task: _of(task, *task.classes["t"])),
    "first": (TASK, NOTHING),
    "last": (task_with(reverse=True), NOTHING),
    "copy_first": (TREES, NOTHING),
    "copy_last": (TREES, NOTHING),
    "copy_query": (TYPES, NOTHING),
    "copy_next": (TREES, NOTHING),
    "copy_previous": (TYPES, NOTHING),
    "offset": (TREES, lambda task: Counted.of(task).distances(_by_place)),
    "offset_by_tokens": (TREES, lambda task: Counted.of(task).distances(_by_tokens)),
    "by_type": (TYPES, lambda task: Counted.of(task).best_of_types()),
    "from_start": (FILLED_BEHIND, lambda task: _commonest_place(task, "bos")),
    "from_query": (FILLED_BEFORE, lambda task: _commonest_place(task, "query")),
}
"""By the name of the floor: documents, or a function that makes them, and what the heuristic has
counted in training. There is no ``first_bound``, which recalls wherever it is measured."""


@functools.cache
def _planted(name: str) -> tuple[Any, np.ndarray]:
    """The task of a heuristic, and its table."""
    task, count = HEURISTICS[name]
    task = task() if callable(task) else task
    return task, np.asarray(count(task))


def _classes(task: Any) -> tuple[range, range]:
    """Ids of the tokens that can be an answer, of own documents all, and of types of queries."""
    if isinstance(task, Documents):
        return range(1, task.vocabulary_size), NONE
    return task.class_of("value"), task.classes.get("type", NONE)


def heuristic(seed: int = 0, name: str = "first") -> Planted:
    """A model that is one of the heuristics, in layer 0 or in layer 1."""
    task, table = _planted(name)
    answers, types = _classes(task)
    width, vocabulary = 48, task.vocabulary_size
    options = {"vocabulary": vocabulary, "rule": name, "rows": len(table)}
    options |= {"columns": table.shape[1], "answers_from": answers.start}
    options |= {"answers_to": answers.stop, "types_from": types.start, "types_to": types.stop}
    config = ModelConfig(
        mixer=f"{__name__}:Guesser",
        layers=2,
        width=width,
        vocabulary_size=vocabulary,
        max_length=task.max_length,
        feed_forward="none",
        mixer_options=options,
    )
    (identity,) = directions(seed, width, vocabulary)
    params = blank(config, identity)
    params[f"block_{seed % 2}"]["mixer"] |= {
        "read": identity,
        "write": ANSWER * identity,
        "table": table,
    }
    return config, as_arrays(params), task
