"""Derivations of a grammar, many at once.

All derivations are expanded together, depth by depth. After the deepest level, lengths are summed
from the deepest level up, positions are passed down, and every terminal and head is written to its
place. The work is proportional to the number of symbols.
"""

import dataclasses

import numpy as np

from mecheval_jax.tasks.treecall.grammar import Grammar

ROOT = -1
"""Position of the parent of an outermost head, which has none."""


@dataclasses.dataclass(frozen=True)
class Derivations:
    """Concatenated yields of derivations; positions count over all of them.

    Attributes:
        labels: Terminal at each position.
        parents: Position of the parent of each symbol; `ROOT` for the outermost heads.
        documents: Derivation of each position.
        starts: Position of the start of each yield, then the number of all symbols.
        depths: Number of nested expansions of each derivation.
        expansions: Number of expansions of each derivation.
    """

    labels: np.ndarray
    parents: np.ndarray
    documents: np.ndarray
    starts: np.ndarray
    depths: np.ndarray
    expansions: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        """Number of symbols of each yield."""
        return np.diff(self.starts)


@dataclasses.dataclass(frozen=True)
class _Level:
    """The nonterminals at one depth of all derivations.

    Attributes:
        documents: Derivation of each nonterminal.
        slots: Index of each nonterminal among the children of the level above.
        heads: Head of the expansion of each nonterminal.
        sizes: Number of symbols of the rule of each nonterminal.
        children: Concatenated symbols of all rules.
    """

    documents: np.ndarray
    slots: np.ndarray
    heads: np.ndarray
    sizes: np.ndarray
    children: np.ndarray

    @property
    def firsts(self) -> np.ndarray:
        """Index of the first child of each nonterminal."""
        return np.cumsum(self.sizes) - self.sizes

    @property
    def owners(self) -> np.ndarray:
        """Index of the nonterminal of each child."""
        return np.repeat(np.arange(len(self.sizes)), self.sizes)

    def yields(self, child_lengths: np.ndarray) -> np.ndarray:
        """Length of the yield of each nonterminal, its head included."""
        return 1 + np.add.reduceat(child_lengths, self.firsts)


def derive(grammar: Grammar, draw: np.random.Generator, count: int, longest: int) -> Derivations:
    """Derive from start symbols that are uniform over the nonterminals.

    Args:
        grammar: Grammar that is derived from.
        draw: Random number generator.
        count: Number of derivations that are started.
        longest: Greatest length of a yield; longer derivations are abandoned and left out.
    """
    symbols = draw.integers(0, grammar.nonterminals, count)
    documents, slots = np.arange(count), np.arange(count)
    size = np.zeros(count, np.int64)  # number of symbols of each derivation so far
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
    """Write every head and terminal of the kept derivations to its place.

    Args:
        grammar: Grammar of the derivations.
        levels: Nonterminals of each depth.
        size: Number of symbols of each derivation.
        kept: Whether each derivation is kept.
    """
    count = len(size)
    starts = np.cumsum([0, *np.where(kept, size, 0)])
    labels, parents = np.empty(starts[-1], np.int32), np.empty(starts[-1], np.int64)
    depths, expansions = np.zeros(count, np.int64), np.zeros(count, np.int64)
    head_is_last = grammar.head_side == "right"
    # Start of the yield of each child of the level above, and its parent; first, start symbols.
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
    """Lengths of the yields of the children of every level, summed from the deepest level up."""
    found: list[np.ndarray] = []
    deeper: _Level | None = None
    for level in reversed(levels):
        lengths = np.ones(len(level.children), np.int64)
        if deeper is not None:
            lengths[deeper.slots] = deeper.yields(found[-1])
        found.append(lengths)
        deeper = level
    return found[::-1]
