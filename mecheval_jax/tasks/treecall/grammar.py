"""A random probabilistic context-free grammar, in which every expansion has a head.

Each nonterminal has a level, uniform on 1 .. `levels`, and produces only nonterminals of larger
levels, so that no derivation is endless. It has 1 .. `rules` rules of 1 .. `symbols` - 1 symbols,
each uniform over the allowed nonterminals and the terminals, with probabilities from a symmetric
Dirichlet distribution, and a distribution over terminals for its heads, from another. At every
expansion a rule and a fresh head are drawn; the head stands at the right (or left) end of the
expansion and is the parent of all its symbols (arXiv 2505.15105, Associative Treecall).

Symbols are integers: terminals 0 .. terminals - 1, then the nonterminals.
"""

import dataclasses
import functools
import json
import pathlib
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from mecheval_jax.errors import UserError, choose, require_at_least

HEADS = ("informative", "uniform")
SIDES = ("right", "left")
DIGITS = 6
"""Significant digits of head probabilities: a grammar of 8,192 terminals stays a few megabytes."""


@dataclasses.dataclass(frozen=True)
class GrammarConfig:
    """How a grammar is drawn.

    Attributes:
        terminals, nonterminals: number of symbols.
        levels: of the nonterminals; a derivation is at most so deep.
        rules: of a nonterminal, at most.
        symbols: of an expansion with its head, at most.
        terminal_weight: options for which all terminals together count when a rule is drawn;
            None: each counts as one, like a nonterminal.
        rule_concentration: of the Dirichlet distribution of rule probabilities.
        head_concentration: of that of head probabilities.
        heads: ``informative``, or ``uniform`` over the terminals for every nonterminal.
        head_side: end of the expansion at which the head stands, ``right`` or ``left``.
        seed: of the draw.
    """

    terminals: int = 20
    nonterminals: int = 40
    levels: int = 10
    rules: int = 5
    symbols: int = 5
    terminal_weight: float | None = None
    rule_concentration: float = 1.0
    head_concentration: float = 1.0
    heads: str = "informative"
    head_side: str = "right"
    seed: int = 0

    def __post_init__(self):
        require_at_least(self, "task", ("nonterminals", "levels", "rules"), 1)
        require_at_least(self, "task", ("terminals", "symbols"), 2)
        require_at_least(self, "task", ("seed",), 0)
        choose("task.heads", self.heads, HEADS)
        choose("task.head_side", self.head_side, SIDES)
        for name in ("rule_concentration", "head_concentration", "terminal_weight"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UserError(f"task.{name} is {value}: it must be above 0")


@dataclasses.dataclass(frozen=True, eq=False)
class Grammar:
    """A grammar; the arrays beside the rules are what sampling reads.

    Attributes:
        terminals: number of terminals.
        levels: of each nonterminal.
        rules: for each nonterminal its rules, each the symbols of the right-hand side.
        rule_probabilities: likewise.
        head_probabilities: [nonterminals, terminals]; None where all heads are uniform.
        head_side: ``right`` or ``left``.
    """

    terminals: int
    levels: tuple[int, ...]
    rules: tuple[tuple[tuple[int, ...], ...], ...]
    rule_probabilities: tuple[tuple[float, ...], ...]
    head_probabilities: np.ndarray | None
    head_side: str

    @property
    def nonterminals(self) -> int:
        """Number of nonterminals."""
        return len(self.rules)

    @functools.cached_property
    def first_rule(self) -> np.ndarray:
        """Number of each nonterminal's first rule, all rules being numbered in order."""
        return np.cumsum([0, *(len(rules) for rules in self.rules)])

    @functools.cached_property
    def rule_sizes(self) -> np.ndarray:
        """Symbols of each rule."""
        return np.array([len(rule) for rules in self.rules for rule in rules])

    @functools.cached_property
    def rule_starts(self) -> np.ndarray:
        """Where each rule begins in `rule_symbols`."""
        return np.cumsum([0, *self.rule_sizes])[:-1]

    @functools.cached_property
    def rule_symbols(self) -> np.ndarray:
        """The symbols of all rules, end to end."""
        return np.array([s for rules in self.rules for rule in rules for s in rule], np.int32)

    def draw_rules(self, draw: np.random.Generator, symbols: np.ndarray) -> np.ndarray:
        """The number of a rule for each nonterminal (counted from 0)."""
        rule = np.searchsorted(self._rule_thresholds, symbols + draw.random(len(symbols)), "right")
        return np.minimum(rule, self.first_rule[symbols + 1] - 1)

    def draw_heads(self, draw: np.random.Generator, symbols: np.ndarray) -> np.ndarray:
        """A terminal for the head of each nonterminal's expansion."""
        if self.head_probabilities is None:
            return draw.integers(0, self.terminals, len(symbols))
        at = np.searchsorted(self._head_thresholds, symbols + draw.random(len(symbols)), "right")
        return np.minimum(at - symbols * self.terminals, self.terminals - 1)

    @functools.cached_property
    def _rule_thresholds(self) -> np.ndarray:
        return np.concatenate([i + _cumulative(p) for i, p in enumerate(self.rule_probabilities)])

    @functools.cached_property
    def _head_thresholds(self) -> np.ndarray:
        return np.concatenate([i + _cumulative(p) for i, p in enumerate(self.head_probabilities)])

    def lengths(self) -> tuple[list[int], list[int]]:
        """The shortest and the longest yield of each nonterminal, in terminals."""
        shortest, longest = [0] * self.nonterminals, [0] * self.nonterminals
        # Rules lead to larger levels only: from the largest down, all they need is known.
        for i in sorted(range(self.nonterminals), key=lambda i: -self.levels[i]):
            for found, pick in ((shortest, min), (longest, max)):
                found[i] = 1 + pick(
                    sum(1 if s < self.terminals else found[s - self.terminals] for s in rule)
                    for rule in self.rules[i]
                )
        return shortest, longest

    def as_json(self) -> str:
        """The grammar as text; see `from_json`."""
        names = [f"nt{i}" for i in range(self.nonterminals)]
        heads = self.head_probabilities

        def word(symbol):
            kind, start = ("t", 0) if symbol < self.terminals else ("nt", self.terminals)
            return f"{kind}{symbol - start}"

        def words(rules):
            return [[word(symbol) for symbol in rule] for rule in rules]

        return json.dumps(
            {
                "terminals": self.terminals,
                "head_side": self.head_side,
                "max_depths": dict(zip(names, self.levels, strict=True)),
                "rules": {n: words(rules) for n, rules in zip(names, self.rules, strict=True)},
                "rule_probs": dict(zip(names, self.rule_probabilities, strict=True)),
                "head_probs": None
                if heads is None
                else {name: row.tolist() for name, row in zip(names, heads, strict=True)},
            }
        )


def _cumulative(probabilities: Sequence[float] | np.ndarray) -> np.ndarray:
    total = np.cumsum(np.asarray(probabilities, float))
    return total / total[-1]


@functools.lru_cache(maxsize=8)
def build_grammar(config: GrammarConfig) -> Grammar:
    """Draw a grammar; the same config gives the same one."""
    draw = np.random.default_rng(config.seed)
    levels = draw.integers(1, config.levels + 1, config.nonterminals)
    weight = config.terminals if config.terminal_weight is None else config.terminal_weight
    rules, probabilities = [], []
    for level in levels:
        allowed = np.flatnonzero(levels > level)

        def symbol(allowed=allowed) -> int:
            if draw.random() * (len(allowed) + weight) < len(allowed):
                return config.terminals + int(draw.choice(allowed))
            return int(draw.integers(config.terminals))

        count = int(draw.integers(1, config.rules + 1))
        sizes = draw.integers(1, config.symbols, count)
        rules.append(tuple(tuple(symbol() for _ in range(size)) for size in sizes))
        concentrations = np.full(count, config.rule_concentration)
        probabilities.append(tuple(draw.dirichlet(concentrations).tolist()))
    heads = None
    if config.heads == "informative":
        concentrations = np.full(config.terminals, config.head_concentration)
        heads = draw.dirichlet(concentrations, config.nonterminals)
        heads = np.vectorize(lambda p: float(f"{p:.{DIGITS}g}"))(heads)
    return Grammar(
        config.terminals,
        tuple(levels.tolist()),
        tuple(rules),
        tuple(probabilities),
        heads,
        config.head_side,
    )


def from_json(text: str, source: str = "the grammar") -> Grammar:
    """A grammar from its text.

    Args:
        text: a JSON object: ``rules`` and ``rule_probs`` by the names of the nonterminals (nt0,
            nt1, ...), symbols as ``t3`` or ``nt7``; ``head_probs`` likewise (null: uniform);
            ``max_depths``, their levels; ``terminals`` (default: as many as the heads have);
            ``head_side`` (default right).
        source: what to call it in an error.

    Raises:
        UserError: what is missing or wrong in it.
    """
    try:
        grammar = _read(json.loads(text))
        _check(grammar)
    except (UserError, json.JSONDecodeError, RecursionError) as error:
        raise UserError(f"{source} is no grammar: {error}") from None
    return grammar


def load_grammar(path: str) -> Grammar:
    """A grammar from a file; see `from_json`.

    Raises:
        UserError: no such file, or no grammar in it.
    """
    try:
        text = pathlib.Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"task.grammar_file {path!r} cannot be read: {error}") from None
    return from_json(text, path)


def _read(values: Any) -> Grammar:
    """The grammar of a JSON value; every part is checked to be of its kind."""
    values = _typed("it", values, dict)
    for name in ("rules", "rule_probs", "head_probs", "max_depths"):
        if name not in values:
            raise UserError(f"lacks {name!r}")
    rules = _typed("rules", values["rules"], dict)
    if not rules:
        raise UserError("it has no rules")
    names = [f"nt{i}" for i in range(len(rules))]

    def rows(field: str) -> list[Any]:
        of_name = _typed(field, values[field], dict)
        for name in names:
            if name not in of_name:
                raise UserError(f"{field} lacks {name!r}")
        return [of_name[name] for name in names]

    def numbers(field: str) -> list[list[float]]:
        return [
            [float(_typed(f"{field} of {name}", p, int, float)) for p in _typed(field, row, list)]
            for name, row in zip(names, rows(field), strict=True)
        ]

    heads = None if values["head_probs"] is None else numbers("head_probs")
    if heads is not None and len({len(row) for row in heads}) > 1:
        raise UserError("head_probs have rows of several lengths")
    terminals = values.get("terminals")
    if terminals is None:
        if heads is None:
            raise UserError("lacks 'terminals', which null head_probs do not tell")
        terminals = len(heads[0])
    if _typed("terminals", terminals, int) < 1:
        raise UserError(f"terminals is {terminals}: at least 1")
    return Grammar(
        terminals=terminals,
        levels=tuple(_typed("max_depths", level, int) for level in rows("max_depths")),
        rules=tuple(
            tuple(
                tuple(_symbol(word, terminals) for word in _typed("a rule", rule, list))
                for rule in _typed("rules", of_one, list)
            )
            for of_one in rows("rules")
        ),
        rule_probabilities=tuple(map(tuple, numbers("rule_probs"))),
        head_probabilities=None if heads is None else np.array(heads),
        head_side=choose("head_side", values.get("head_side", "right"), SIDES),
    )


KINDS = {dict: "an object", list: "a list", int: "a whole number", float: "a number"}


def _typed(what: str, value: Any, *kinds: type) -> Any:
    """A value of JSON, if it is of a kind; true and false are no numbers."""
    if not isinstance(value, kinds) or isinstance(value, bool):
        raise UserError(f"{what} is or has {value!r:.40}, which is not {KINDS[kinds[-1]]}")
    return value


def _symbol(word: Any, terminals: int) -> int:
    found = re.fullmatch(r"(nt|t)([0-9]+)", word) if isinstance(word, str) else None
    if not found:
        raise UserError(f"a rule has {word!r:.40}, which is no symbol such as 't3' or 'nt7'")
    number = int(found[2])
    if found[1] == "t" and number >= terminals:
        raise UserError(f"a rule has terminal {word} of {terminals}")
    return number if found[1] == "t" else terminals + number


def _check(grammar: Grammar) -> None:
    """Raise UserError for rules that a derivation could not follow to its end."""
    for i, rules in enumerate(grammar.rules):
        probabilities = grammar.rule_probabilities[i]
        if not rules or len(rules) != len(probabilities):
            raise UserError(f"nt{i} has {len(rules)} rules and {len(probabilities)} probabilities")
        # Written so that NaN fails.
        if not (min(probabilities) >= 0 and abs(sum(probabilities) - 1) <= 1e-3):
            raise UserError(f"the rule probabilities of nt{i} sum to {sum(probabilities):g}")
        if not all(rules):
            raise UserError(f"nt{i} has a rule without symbols")
        for symbol in (s - grammar.terminals for rule in rules for s in rule):
            if symbol >= grammar.nonterminals:
                raise UserError(f"nt{i} produces nt{symbol}, which has no rules")
            if symbol >= 0 and grammar.levels[symbol] <= grammar.levels[i]:
                raise UserError(f"nt{i} produces nt{symbol}, whose level is not larger")
    heads = grammar.head_probabilities
    if heads is not None:
        if heads.shape != (grammar.nonterminals, grammar.terminals):
            raise UserError(f"its head probabilities have the shape {heads.shape}")
        if not ((heads >= 0).all() and (np.abs(heads.sum(axis=1) - 1) <= 1e-3).all()):
            raise UserError("some head probabilities do not sum to 1")
