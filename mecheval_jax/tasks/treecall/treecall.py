"""Associative Treecall (ATR): recall in documents that a grammar derives.

    <bos> yield <eos> query [type] answer <eos>

The yield is that of one derivation (`grammar`, `derivation`). The query is one of its terminals and
the answer, by default, the parent of that terminal (`queries`). Ids: pad 0, bos 1, eos 2 (also the
divider), terminals, then the query types parent, child, sibling. With several types a token of the
type stands after the query, and the answer is predicted there.

Roles are named by function: ``key`` is the asked occurrence of the query, ``value`` that of the
answer, ``next_key`` the token after ``value``, ``value+2`` the one after that; a role that would
fall on the divider, the query or ``key`` is absent. ``query_type`` is the token of the type.

Source: arXiv 2505.15105. A document without a pair that can be asked, or whose length is not
within the limits, is replaced by a new derivation.
"""

import dataclasses
import functools
import hashlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from mecheval_jax.array_types import Key
from mecheval_jax.errors import UserError, choose
from mecheval_jax.tasks.base import ABSENT, BOS, DERIVED, EOS, ROLES, SPLITS, first_query
from mecheval_jax.tasks.floors import with_best
from mecheval_jax.tasks.packed import HostTask, Packed, concatenate, generator
from mecheval_jax.tasks.packed_floors import packed_floors
from mecheval_jax.tasks.synthetic.traceable import FIRST, SyntheticTask
from mecheval_jax.tasks.treecall.derivation import Derivations, derive
from mecheval_jax.tasks.treecall.grammar import (
    MOST_SYMBOLS,
    Grammar,
    GrammarConfig,
    build_grammar,
    load_grammar,
)
from mecheval_jax.tasks.treecall.queries import (
    ORDERS,
    QUERY_TYPES,
    AskableCells,
    Pairs,
    choose_pairs,
    eligible_pairs,
    last_occurrences,
    statistics,
)

AT_ONCE = 4096
"""Greatest number of derivations that are started together."""

TRIALS = 4096
"""Number of derivations from which a new task estimates the share of usable documents."""

TRAINING_DOCUMENTS = 20_000
"""Number of documents to which the floors are fitted."""


@dataclasses.dataclass(frozen=True)
class Treecall(HostTask, SyntheticTask, GrammarConfig):
    """The task; the defaults are "L = 5" with 20 terminals of arXiv 2505.15105.

    Attributes:
        terminals, ..., seed: Fields of `GrammarConfig`; the seed is also that of the held-out
            cells.
        grammar_file: JSON file of a grammar, in place of one that is drawn. `terminals` and
            `head_side` must agree with it; the other fields of `GrammarConfig`, except the
            seed, are not used.
        grammar_sha256: Hash of that grammar; filled in if empty.
        query_types: Types of queries that are asked, each one of `QUERY_TYPES`.
        order: ``target_first`` or ``query_first``; see `queries.choose_pairs`.
        shortest, longest: Limits of the number of symbols of a yield.
        held_out: Fraction of the (parent, child) cells that only the test split asks.
    """

    grammar_file: str | None = None
    grammar_sha256: str = ""
    query_types: tuple[str, ...] = ("parent",)
    order: str = "target_first"
    shortest: int = 3
    longest: int = 1024
    held_out: float = 0.0

    hash_field = "grammar_sha256"

    @classmethod
    def files_of(cls, values: Mapping[str, Any]) -> list[str]:
        """The file of the grammar, if it is not drawn."""
        path = values.get("grammar_file")
        return [path] if isinstance(path, str) else []

    def check(self) -> None:
        """Check names and bounds, the grammar's file, and that every split has documents."""
        super().check()
        if not self.query_types:
            raise UserError(f"task.query_types is empty: name some of {', '.join(QUERY_TYPES)}")
        for query_type in self.query_types:
            choose("task.query_types", query_type, QUERY_TYPES)
        self.once("query_types")
        choose("task.order", self.order, ORDERS)
        if not 1 <= self.shortest <= self.longest:
            raise UserError(
                f"task.shortest is {self.shortest} and task.longest {self.longest}: "
                "1 <= shortest <= longest"
            )
        if not 0 <= self.held_out < 1:
            raise UserError(f"task.held_out is {self.held_out}: a fraction, 0 <= held_out < 1")
        self._check_grammar()
        for split in SPLITS:
            self._acceptance(split)

    def check_size(self) -> None:
        """As of `GrammarConfig`, unless the grammar is that of a file, which is drawn already."""
        if self.grammar_file is None:
            super().check_size()
        elif self.terminals > MOST_SYMBOLS:
            raise UserError(f"task.terminals is {self.terminals}: at most {MOST_SYMBOLS:,}")

    def _check_grammar(self) -> None:
        """Raise UserError if the grammar does not fit the other fields; fill in its hash."""
        shortest, longest = self.grammar.lengths()
        if min(shortest) > self.longest or max(longest) < self.shortest:
            raise UserError(
                f"the grammar derives {min(shortest)} to {max(longest)} symbols, and task.shortest "
                f"{self.shortest} to task.longest {self.longest} are wanted: nothing can be derived"
            )
        for name in ("terminals", "head_side"):
            ours, theirs = getattr(self, name), getattr(self.grammar, name)
            if ours != theirs:
                raise UserError(f"task.{name} is {ours}, and {self.grammar_file} has {theirs}")
        if self.grammar_file is None:
            return
        digest = hashlib.sha256(self.grammar.as_json().encode()).hexdigest()
        if self.grammar_sha256 not in ("", digest):
            raise UserError(f"{self.grammar_file} holds another grammar than it did before")
        object.__setattr__(self, "grammar_sha256", digest)

    @functools.cached_property
    def grammar(self) -> Grammar:
        """Grammar that all documents are derived from."""
        if self.grammar_file is not None:
            return load_grammar(self.grammar_file)
        names = (field.name for field in dataclasses.fields(GrammarConfig))
        return build_grammar(GrammarConfig(**{name: getattr(self, name) for name in names}))

    def artifacts(self) -> dict[str, str]:
        """The grammar as JSON, for the run folder."""
        return {"grammar.json": self.grammar.as_json()}

    @property
    def classes(self) -> dict[str, range]:
        """Ids of terminals and of the types of queries."""
        end = FIRST + self.terminals
        return {"t": range(FIRST, end), "type": range(end, end + len(QUERY_TYPES))}

    def class_of(self, role: str) -> range:
        """Ids of the terminals, for every role."""
        del role
        return self.classes["t"]

    def name_of(self, token: int) -> str:
        """Name of a token: ``t17``, ``<parent>``, ``<bos>``."""
        types = self.classes["type"]
        return f"<{QUERY_TYPES[token - types.start]}>" if token in types else super().name_of(token)

    @property
    def _typed(self) -> bool:
        return len(self.query_types) > 1

    @property
    def role_names(self) -> tuple[str, ...]:
        """Names of the roles, with several types of queries also ``query_type``."""
        return (*ROLES, "query_type") if self._typed else ROLES

    @property
    def max_length(self) -> int:
        """Length in tokens of the longest document, including one for a type."""
        return self.longest + 6

    @property
    def read_length(self) -> int:
        """Number of tokens up to and including the last possible query or type."""
        return self.longest + 3 + self._typed

    def draw(self, key: Key, count: int, split: str) -> Packed:
        """Draw `count` documents of a split.

        Raises:
            UserError: If the split is unknown.
        """
        choose("split", split, SPLITS)
        draw, acceptance = generator(key), self._acceptance(split)
        parts, missing = [], count
        while missing > 0:
            begun = min(AT_ONCE, 16 + int(1.1 * missing / acceptance))
            parts.append(self._lay_out(*self._ask(draw, begun, split))[:missing])
            missing -= len(parts[-1])
        return concatenate(parts)

    @functools.cache  # noqa: B019 - a handful of frozen tasks live as long as the program
    def _acceptance(self, split: str) -> float:
        """Share of derivations that become documents of a split."""
        usable = len(self._ask(np.random.default_rng(0), TRIALS, split)[1].documents)
        if usable == 0:
            raise UserError(
                f"of {TRIALS:,} derivations none has {self.shortest} to {self.longest} symbols and "
                f"a {' or '.join(self.query_types)} query that split {split!r} could ask: change "
                "the grammar (task.seed), the lengths, or task.held_out"
            )
        return usable / TRIALS

    def _ask(
        self, draw: np.random.Generator, begun: int, split: str
    ) -> tuple[Derivations, Pairs, np.ndarray]:
        """Derivations, one pair for each that has any, and the index of the type of each pair."""
        derived = derive(self.grammar, draw, begun, self.longest)
        by_type = self.eligible(derived, split)
        return derived, *choose_pairs(draw, by_type, self.order, len(derived.lengths))

    def eligible(self, derived: Derivations, split: str) -> dict[str, Pairs]:
        """Pairs that a split could ask, by type of query; none for yields that are too short."""
        last = last_occurrences(derived, self.terminals)
        last &= (derived.lengths >= self.shortest)[derived.documents]
        cells = AskableCells(self.held_out, self.seed, split)
        return {kind: eligible_pairs(derived, kind, last, cells) for kind in self.query_types}

    def _lay_out(self, derived: Derivations, pairs: Pairs, kinds: np.ndarray) -> Packed:
        """Documents of the derivations that have a pair; arguments as returned by `_ask`."""
        # The yields, between bos and divider.
        lengths = derived.lengths[pairs.documents]
        begins = derived.starts[pairs.documents]
        ending = 5 + self._typed  # bos, divider, query, type if any, answer and eos
        starts = np.cumsum([0, *(lengths + ending)])
        tokens = np.empty(starts[-1], np.int32)
        asked = np.zeros(len(derived.lengths), bool)
        asked[pairs.documents] = True
        inside = asked[derived.documents]
        places = np.repeat(starts[:-1] + 1 - (np.cumsum(lengths) - lengths), lengths)
        tokens[places + np.arange(len(places))] = FIRST + derived.labels[inside]

        # Divider, query and answer.
        divider = lengths + 1
        query, answer = divider + 1, divider + 2 + self._typed
        labels = FIRST + derived.labels[np.stack([pairs.queries, pairs.answers])]
        for place, token in ((0, BOS), (divider, EOS), (query, labels[0]), (answer, labels[1])):
            tokens[starts[:-1] + place] = token
        tokens[starts[1:] - 1] = EOS
        # Roles.
        key, value = 1 + pairs.queries - begins, 1 + pairs.answers - begins
        roles = {
            "bos": np.zeros_like(key),
            "key": key,
            "value": value,
            **{name: value + distance for name, distance in DERIVED.items()},
            "divider": divider,
            "query": query,
            "answer": answer,
        }
        for name in DERIVED:
            clash = (roles[name] >= divider) | (roles[name] == key)
            roles[name] = np.where(clash, ABSENT, roles[name])
        if self._typed:
            roles["query_type"] = query + 1
            number = np.array([QUERY_TYPES.index(kind) for kind in self.query_types])[kinds]
            tokens[starts[:-1] + query + 1] = self.classes["type"].start + number
        return Packed(
            tokens=tokens,
            starts=starts,
            query_positions=(query + self._typed)[:, None],
            targets=labels[1][:, None],
            weights=np.ones((len(key), 1), np.float32),
            roles={name: positions[:, None].astype(np.int32) for name, positions in roles.items()},
        )

    def statistics(
        self, key: Key, documents: int = TRIALS, split: str = "train"
    ) -> dict[str, np.ndarray]:
        """Statistics of documents of a split; see `queries.statistics`.

        Args:
            key: Random key.
            documents: Number of derivations; those that cannot be asked are left out.
            split: Split of the queries.
        """
        derived = derive(self.grammar, generator(key), documents, self.longest)
        by_type = self.eligible(derived, split)
        asked, _ = choose_pairs(generator(key), by_type, self.order, len(derived.lengths))
        return statistics(derived, by_type, asked, self.terminals)

    def floors(
        self, key: Key, documents: int = 4096, split: str = "test", *, first: bool = False
    ) -> dict[str, float]:
        """Accuracies, 0 to 1, of heuristics on documents of a split, fitted to train documents.

        With held-out cells there is no ``split`` as in associative recall. On dev documents to
        leave out the cells that are never asked gains nothing beside the other heuristics; on test
        documents to guess at just these would, but nothing in training leads there.
        """
        fitted, counted = jax.random.split(key)
        drawn = self.draw(fitted, TRAINING_DOCUMENTS, "train"), self.draw(counted, documents, split)
        training, judged = map(first_query, drawn) if first else drawn
        return with_best(packed_floors(training, judged, np.array(self.class_of("value"))))
