"""Random probabilistic context-free grammars in which every expansion has a head.

Each nonterminal has a level, uniform on 1 .. `levels`, and produces only nonterminals of larger
levels, so that every derivation ends. It has 1 .. `rules` rules of 1 .. `symbols` - 1 symbols, each
uniform over the allowed nonterminals and the terminals. The probabilities of its rules are drawn
from a symmetric Dirichlet distribution, and so is its distribution of heads over the terminals.
Every expansion draws a rule and a head. The head stands at the right (or left) end of the
expansion and is the parent of all its symbols (Associative Treecall, arXiv 2505.15105).

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

from mecheval_jax.errors import UserError, choose, shown
from mecheval_jax.fields import Section
from mecheval_jax.files import parse_json, read_text
from mecheval_jax.forms import mismatch

HEADS = ("informative", "uniform")
SIDES = ("right", "left")
Rules = tuple[tuple[int, ...], ...]
"""Rules of one nonterminal, each as the symbols of its right-hand side."""

MOST_SYMBOLS = 10**7
"""Of a grammar that is drawn: nonterminals times rules times symbols."""

DIGITS = 6
"""Significant digits of head probabilities; grammars of 8,192 terminals take a few megabytes."""


@dataclasses.dataclass(frozen=True)
class GrammarConfig(Section, section="task"):
    """Parameters from which a grammar is drawn.

    Attributes:
        terminals: Number of terminals.
        nonterminals: Number of nonterminals.
        levels: Number of levels of nonterminals, the greatest depth of a derivation.
        rules: Greatest number of rules of a nonterminal.
        symbols: Greatest number of symbols of an expansion, its head included.
        terminal_weight: Weight of all terminals together against a weight of 1 for each allowed
            nonterminal when a symbol of a rule is drawn; None for 1 per terminal.
        rule_concentration: Dirichlet concentration of rule probabilities.
        head_concentration: Dirichlet concentration of head probabilities.
        heads: ``informative``, or ``uniform`` over the terminals for every nonterminal.
        head_side: End of the expansion at which the head stands, ``right`` or ``left``.
        seed: Seed of the draw.
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

    def check(self) -> None:
        """Check names and bounds, and the size."""
        self.at_least(1, "nonterminals", "levels", "rules")
        self.at_least(2, "terminals", "symbols")
        self.check_size()
        choose("task.heads", self.heads, HEADS)
        choose("task.head_side", self.head_side, SIDES)
        for name in ("rule_concentration", "head_concentration", "terminal_weight"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UserError(f"task.{name} is {value}: it must be above 0")

    def check_size(self) -> None:
        """Check that the grammar is not too large to be drawn.

        Raises:
            UserError: If it is; the message names the fields that make it so.
        """
        size = self.nonterminals * self.rules * max(self.symbols, self.terminals)
        if size > MOST_SYMBOLS or self.levels > MOST_SYMBOLS:
            raise UserError(
                f"task.nonterminals {self.nonterminals}, rules {self.rules}, symbols "
                f"{self.symbols}, terminals {self.terminals} and levels {self.levels} make a "
                f"grammar of {size:,} symbols: at most {MOST_SYMBOLS:,}"
            )


@dataclasses.dataclass(frozen=True, eq=False)
class Grammar:
    """A grammar, with flat arrays of its rules for sampling.

    Attributes:
        terminals: Number of terminals.
        levels: Level of each nonterminal.
        rules: Rules of each nonterminal, each as the symbols of its right-hand side.
        rule_probabilities: Probabilities of the rules of each nonterminal.
        head_probabilities: Probabilities of heads, [nonterminals, terminals]; None if uniform.
        head_side: End of an expansion at which the head stands, ``right`` or ``left``.
    """

    terminals: int
    levels: tuple[int, ...]
    rules: tuple[Rules, ...]
    rule_probabilities: tuple[tuple[float, ...], ...]
    head_probabilities: np.ndarray | None
    head_side: str

    @property
    def nonterminals(self) -> int:
        """Number of nonterminals."""
        return len(self.rules)

    @functools.cached_property
    def first_rule(self) -> np.ndarray:
        """Index, among all rules, of the first rule of each nonterminal, then their number."""
        return np.cumsum([0, *(len(rules) for rules in self.rules)])

    @functools.cached_property
    def rule_sizes(self) -> np.ndarray:
        """Number of symbols of each rule."""
        return np.array([len(rule) for rules in self.rules for rule in rules])

    @functools.cached_property
    def rule_starts(self) -> np.ndarray:
        """Index of the first symbol of each rule in `rule_symbols`."""
        return np.cumsum([0, *self.rule_sizes])[:-1]

    @functools.cached_property
    def rule_symbols(self) -> np.ndarray:
        """Concatenated symbols of all rules."""
        return np.array([s for rules in self.rules for rule in rules for s in rule], np.int32)

    def draw_rules(self, draw: np.random.Generator, symbols: np.ndarray) -> np.ndarray:
        """Draw the index, among all rules, of a rule for each nonterminal (numbered from 0)."""
        rule = np.searchsorted(self._rule_thresholds, symbols + draw.random(len(symbols)), "right")
        return np.minimum(rule, self.first_rule[symbols + 1] - 1)

    def draw_heads(self, draw: np.random.Generator, symbols: np.ndarray) -> np.ndarray:
        """Draw a terminal as the head of each nonterminal's expansion."""
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
        """Lengths of the shortest and the longest yield of each nonterminal, in terminals."""
        shortest, longest = [0] * self.nonterminals, [0] * self.nonterminals
        # Rules produce larger levels only, so the levels are visited from the largest down.
        for i in sorted(range(self.nonterminals), key=lambda i: -self.levels[i]):
            for found, pick in ((shortest, min), (longest, max)):
                found[i] = 1 + pick(
                    sum(1 if s < self.terminals else found[s - self.terminals] for s in rule)
                    for rule in self.rules[i]
                )
        return shortest, longest

    def as_json(self) -> str:
        """The grammar as JSON text; see `from_json` for its form."""
        names = [f"nt{i}" for i in range(self.nonterminals)]
        heads = self.head_probabilities

        def word(symbol: int) -> str:
            kind, start = ("t", 0) if symbol < self.terminals else ("nt", self.terminals)
            return f"{kind}{symbol - start}"

        def words(rules: Rules) -> list[list[str]]:
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
    """Cumulative probabilities, normalised to end at 1."""
    total = np.cumsum(np.asarray(probabilities, float))
    return total / total[-1]


@functools.lru_cache(maxsize=8)
def build_grammar(config: GrammarConfig) -> Grammar:
    """Draw a grammar, a function of the config alone."""
    draw = np.random.default_rng(config.seed)
    levels = draw.integers(1, config.levels + 1, config.nonterminals)
    weight = config.terminals if config.terminal_weight is None else config.terminal_weight
    rules, probabilities = [], []
    for level in levels:
        allowed = np.flatnonzero(levels > level)

        def symbol(allowed: np.ndarray = allowed) -> int:
            if draw.random() * (len(allowed) + weight) < len(allowed):
                return config.terminals + int(draw.choice(allowed))
            return int(draw.integers(config.terminals))

        count = int(draw.integers(1, config.rules + 1))
        sizes = draw.integers(1, config.symbols, count)
        rules.append(tuple(tuple(symbol() for _ in range(size)) for size in sizes))
        concentrations = np.full(count, float(config.rule_concentration))
        probabilities.append(tuple(draw.dirichlet(concentrations).tolist()))
    heads = None
    if config.heads == "informative":
        concentrations = np.full(config.terminals, float(config.head_concentration))
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
    """A grammar from JSON text.

    Args:
        text: JSON object with the fields ``rules`` and ``rule_probs`` by name of nonterminal
            (nt0, nt1, ...), with symbols as ``t3`` or ``nt7``; ``head_probs`` likewise, or null
            if uniform; ``max_depths``, the levels; ``terminals``, by default the number of head
            probabilities; ``head_side``, by default ``right``.
        source: Name of the text in error messages.

    Raises:
        UserError: If something is missing or wrong; the message says what.
    """
    try:
        grammar = _read(parse_json(text, "it"))
        _check(grammar)
    except (UserError, OverflowError) as error:  # a number that is too large for any
        raise UserError(f"{source} is no grammar: {error}") from None
    return grammar


def load_grammar(path: str) -> Grammar:
    """A grammar from a JSON file; see `from_json` for its form.

    Raises:
        UserError: If the file cannot be read or holds no grammar.
    """
    try:
        text = read_text(pathlib.Path(path))
    except UserError as error:
        raise UserError(f"task.grammar_file {path!r} cannot be read: {error}") from None
    return from_json(text, path)


def _read(values: Any) -> Grammar:
    """The grammar of a JSON value; the type of every part is checked."""
    rules = values.get("rules") if isinstance(values, dict) else None
    names = [f"nt{i}" for i in range(len(rules))] if isinstance(rules, dict) else []
    if wrong := mismatch(values, _form(names)):
        raise UserError(wrong)
    if not names:
        raise UserError("it has no rules")
    # The number of terminals, from the heads if it is not given.
    heads = values["head_probs"]
    rows = [] if heads is None else [heads[name] for name in names]
    if len({len(row) for row in rows}) > 1:
        raise UserError("head_probs have rows of several lengths")
    terminals = values.get("terminals")
    if terminals is None:
        if not rows:
            raise UserError("it lacks 'terminals', which null head_probs do not tell")
        terminals = len(rows[0])
    if terminals < 1:
        raise UserError(f"terminals is {terminals}: at least 1")
    return Grammar(
        terminals=terminals,
        levels=tuple(values["max_depths"][name] for name in names),
        rules=tuple(
            tuple(
                tuple(_symbol(word, terminals) for word in rule) for rule in values["rules"][name]
            )
            for name in names
        ),
        rule_probabilities=tuple(tuple(map(float, values["rule_probs"][name])) for name in names),
        head_probabilities=np.array(rows, float) if rows else None,
        head_side=choose("head_side", values.get("head_side", "right"), SIDES),
    )


def _form(names: list[str]) -> dict[str, Any]:
    """The form (`forms`) of a grammar with these nonterminals."""
    of_each = {name: [float] for name in names}
    return {
        "rules": {name: [[str]] for name in names},
        "rule_probs": of_each,
        "head_probs": (of_each, None),
        "max_depths": dict.fromkeys(names, int),
        "terminals?": (int, None),
        "head_side?": str,
    }


def _symbol(word: str, terminals: int) -> int:
    """The symbol of a name such as ``t3`` or ``nt7``."""
    found = re.fullmatch(r"(nt|t)([0-9]{1,9})", word)
    if not found:
        raise UserError(f"a rule has {shown(word, 40)}, which is no symbol such as 't3' or 'nt7'")
    number = int(found[2])
    if found[1] == "t" and number >= terminals:
        raise UserError(f"a rule has terminal {word} of {terminals}")
    return number if found[1] == "t" else terminals + number


def _check(grammar: Grammar) -> None:
    """Raise UserError if probabilities are invalid or a derivation could fail to end."""
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
