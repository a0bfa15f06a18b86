"""Derivations of a grammar, many at once.

All documents are expanded level by level. Nothing is laid out until the last one: then lengths
are summed up the levels, positions are handed down, and every terminal and head is written to
its place, so that the work is proportional to the symbols that are derived.
"""

import dataclasses

import numpy as np

from mecheval_jax.tasks.treecall.grammar import Grammar

ROOT = -1
"""Stands for the parent of the outermost head."""


@dataclasses.dataclass(frozen=True)
class Derivations:
    """The yields of some derivations, end to end; positions count over all of them.

    Attributes:
        labels: the terminal at each position.
        parents: position of each symbol's parent; `ROOT` for the outermost heads.
        documents: the derivation of each position.
        starts: where each yield begins, and the end of the last.
        depths: expansions inside one another, of each derivation.
        expansions: how many each derivation has.
    """

    labels: np.ndarray
    parents: np.ndarray
    documents: np.ndarray
    starts: np.ndarray
    depths: np.ndarray
    expansions: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        """Symbols of each yield."""
        return np.diff(self.starts)


@dataclasses.dataclass(frozen=True)
class _Level:
    """The nonterminals of one depth of all derivations.

    Attributes:
        documents: the derivation of each.
        slots: which of the children of the level above each is.
        heads: the head of each one's expansion.
        sizes: symbols of its rule.
        children: the symbols of all rules, end to end.
    """

    documents: np.ndarray
    slots: np.ndarray
    heads: np.ndarray
    sizes: np.ndarray
    children: np.ndarray

    @property
    def firsts(self) -> np.ndarray:
        """Where the children of each begin."""
        return np.cumsum(self.sizes) - self.sizes

    @property
    def owners(self) -> np.ndarray:
        """The nonterminal of each child."""
        return np.repeat(np.arange(len(self.sizes)), self.sizes)

    def yields(self, child_lengths: np.ndarray) -> np.ndarray:
        """Length of each one's yield, its head included."""
        return 1 + np.add.reduceat(child_lengths, self.firsts)


def derive(grammar: Grammar, draw: np.random.Generator, count: int, longest: int) -> Derivations:
    """Derive from start symbols that are uniform over the nonterminals.

    Args:
        grammar: the grammar.
        draw: random numbers.
        count: derivations that are begun.
        longest: those with a longer yield are left out, and given up as soon as they are.
    """
    symbols = draw.integers(0, grammar.nonterminals, count)
    documents, slots = np.arange(count), np.arange(count)
    size = np.zeros(count, np.int64)  # symbols that a derivation is known to have
    levels: list[_Level] = []
    while len(symbols):
        rules = grammar.draw_rules(draw, symbols)
        sizes = grammar.rule_sizes[rules]
        ends = np.cumsum(sizes)
        within = np.arange(ends[-1]) - np.repeat(ends - sizes, sizes)
        children = grammar.rule_symbols[np.repeat(grammar.rule_starts[rules], sizes) + within]
        level = _Level(documents, slots, grammar.draw_heads(draw, symbols), sizes, children)
        levels.append(level)

        slots = np.flatnonzero(children >= grammar.terminals)
        of_slots = documents[level.owners[slots]]
        size += np.bincount(documents, 1 + sizes, count).astype(np.int64)
        size -= np.bincount(of_slots, minlength=count)  # these count when they are expanded
        going_on = size[of_slots] <= longest
        slots, documents = slots[going_on], of_slots[going_on]
        symbols = children[slots] - grammar.terminals
    return _lay_out(grammar, levels, size, size <= longest)


def _lay_out(
    grammar: Grammar, levels: list[_Level], size: np.ndarray, kept: np.ndarray
) -> Derivations:
    """Write every head and terminal of the derivations that are kept to its place."""
    count = len(size)
    starts = np.cumsum([0, *np.where(kept, size, 0)])
    labels, parents = np.empty(starts[-1], np.int32), np.empty(starts[-1], np.int64)
    depths, expansions = np.zeros(count, np.int64), np.zeros(count, np.int64)
    head_is_last = grammar.head_side == "right"
    # Where the children of the level above begin, and their parents; there, the start symbols.
    places, above = starts[:-1], np.full(count, ROOT, np.int64)
    child_lengths = _child_lengths(levels)
    for depth, (level, lengths) in enumerate(zip(levels, child_lengths, strict=True), start=1):
        begins, owners = places[level.slots], level.owners
        head = begins + (level.yields(lengths) - 1 if head_is_last else 0)
        here = kept[level.documents]
        labels[head[here]] = level.heads[here]
        parents[head[here]] = above[level.slots][here]

        before = np.cumsum(lengths) - lengths
        within = before - before[level.firsts][owners]
        places, above = begins[owners] + within + (not head_is_last), head[owners]
        terminal = (level.children < grammar.terminals) & here[owners]
        labels[places[terminal]] = level.children[terminal]
        parents[places[terminal]] = above[terminal]
        depths[level.documents] = depth
        expansions += np.bincount(level.documents, minlength=count)
    lengths = size[kept]
    return Derivations(
        labels=labels,
        parents=parents,
        documents=np.repeat(np.arange(len(lengths)), lengths),
        starts=np.cumsum([0, *lengths]),
        depths=depths[kept],
        expansions=expansions[kept],
    )


def _child_lengths(levels: list[_Level]) -> list[np.ndarray]:
    """Length of each child's yield, of every level, summed up from the deepest."""
    found: list[np.ndarray] = []
    deeper: _Level | None = None
    for level in reversed(levels):
        lengths = np.ones(len(level.children), np.int64)
        if deeper is not None:
            lengths[deeper.slots] = deeper.yields(found[-1])
        found.append(lengths)
        deeper = level
    return found[::-1]
