"""Treecall in plain Python, one document at a time: the baseline of the fast sampler.

The tests compare the distributions of the two, so this module shares no code with `tasks.treecall`
but the grammar.
"""

import random
from collections.abc import Iterator

from mecheval_jax.tasks.treecall.grammar import Grammar
from mecheval_jax.tasks.treecall.treecall import Treecall


class Node:
    """A symbol of a yield.

    Attributes:
        label: Terminal of the symbol.
        parent: Parent of the symbol; None for the outermost head.
        place: Position in the yield.
    """

    __slots__ = ("label", "parent", "place")

    def __init__(self, label: int, parent: "Node | None" = None):
        self.label, self.parent, self.place = label, parent, -1


def derive_one(
    grammar: Grammar, heads: list[list[float]] | None, source: random.Random, longest: int
) -> tuple[list[Node], int]:
    """The yield of one derivation from a uniform start symbol, and its depth.

    A derivation is abandoned once it has more than `longest` symbols, and its yield is then
    incomplete but still too long.

    Args:
        grammar: Grammar that is derived from.
        heads: Head probabilities of the grammar as lists; None for uniform heads.
        source: Random number generator.
        longest: Greatest number of symbols of a yield.
    """
    symbols, terminals = [], range(grammar.terminals)

    def expand(symbol: int, parent: Node | None) -> int:
        """Append the expansion of a nonterminal to `symbols`; return its depth."""
        rule = source.choices(grammar.rules[symbol], grammar.rule_probabilities[symbol])[0]
        label = source.choices(terminals, heads[symbol] if heads else None)[0]
        head, depth = Node(label, parent), 1
        if grammar.head_side == "left":
            symbols.append(head)
        for child in rule:
            if len(symbols) > longest:
                break
            if child < grammar.terminals:
                symbols.append(Node(child, head))
            else:
                depth = max(depth, 1 + expand(child - grammar.terminals, head))
        if grammar.head_side == "right":
            symbols.append(head)
        return depth

    depth = expand(source.randrange(grammar.nonterminals), None)
    for place, node in enumerate(symbols):
        node.place = place
    return symbols, depth


def pairs_of(symbols: list[Node], query_type: str) -> list[tuple[Node, Node]]:
    """All pairs (query, answer) of a type whose query is the last occurrence of its label."""
    last = {node.label: node for node in symbols}

    def is_last(node: Node) -> bool:
        return last[node.label] is node

    if query_type == "parent":
        return [(node, node.parent) for node in symbols if node.parent and is_last(node)]
    if query_type == "child":
        return [(n.parent, n) for n in symbols if n.parent and is_last(n.parent)]
    pairs = []
    for node in filter(is_last, symbols):
        siblings = [n for n in symbols if n.parent is node.parent] if node.parent else [node]
        if is_last(siblings[-1]):
            pairs.append((node, siblings[-1]))
    return pairs


def sampler(task: Treecall, source: random.Random) -> Iterator[tuple]:
    """Sample documents of a task without held-out cells.

    Yields:
        Symbols of a document, places of query and answer among them, and depth.
    """
    table = task.grammar.head_probabilities
    heads = None if table is None else table.tolist()
    while True:
        symbols, depth = derive_one(task.grammar, heads, source, task.longest)
        if not task.shortest <= len(symbols) <= task.longest:
            continue
        by_type = [pairs for kind in task.query_types if (pairs := pairs_of(symbols, kind))]
        if not by_type:
            continue
        pairs = source.choice(by_type)
        outer = 1 if task.order == "target_first" else 0
        place = source.choice(sorted({pair[outer].place for pair in pairs}))
        query, answer = source.choice([pair for pair in pairs if pair[outer].place == place])
        yield symbols, query.place, answer.place, depth
