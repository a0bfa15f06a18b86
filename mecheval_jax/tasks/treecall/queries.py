"""Queries about derivations: the pairs that can be asked, and a draw of one per document.

A pair is a query and an answer, both positions in the yield. The query must be the last occurrence
of its terminal, and the split must allow the cell (label of the parent, label of the child):

parent   the answer is the query's parent; cell (answer, query)
child    the answer is one of the query's children; cell (query, answer)
sibling  the answer is the last symbol with the query's parent, possibly the query itself, and also
         a last occurrence; the outermost head is its own sibling; cell (answer, query)

Source: arXiv 2505.15105.
"""

import dataclasses

import numpy as np

from mecheval_jax.tasks import held_out
from mecheval_jax.tasks.treecall.derivation import ROOT, Derivations

QUERY_TYPES = ("parent", "child", "sibling")
ORDERS = ("target_first", "query_first")

LARGEST_TABLE = 2**27
"""Greatest number of terminals of all documents for which there is a table with a place for each;
with more of them the symbols are sorted, which takes longer and no more memory than they do."""


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Pairs of query and answer, sorted by document.

    Attributes:
        documents: Document of each pair.
        queries: Position of the query among the symbols of all documents.
        answers: Position of the answer, likewise.
    """

    documents: np.ndarray
    queries: np.ndarray
    answers: np.ndarray

    def where(self, chosen: np.ndarray) -> "Pairs":
        """The pairs that a mask or an index selects."""
        return Pairs(self.documents[chosen], self.queries[chosen], self.answers[chosen])


@dataclasses.dataclass(frozen=True)
class AskableCells:
    """The cells (parent, child) that a split may ask.

    Attributes:
        fraction: Fraction of the cells that are held out.
        seed: Seed of their hash (`tasks.held_out`).
        split: Split: ``test`` asks held-out cells only, the others never do.
    """

    fraction: float
    seed: int
    split: str

    def allow(self, parents: np.ndarray, children: np.ndarray) -> np.ndarray:
        """Whether each cell may be asked in the split."""
        if not self.fraction:
            return np.ones(len(parents), bool)
        forbidden = held_out.is_held_out(self.seed, self.fraction, parents, children)
        return forbidden if self.split == "test" else ~forbidden


def last_occurrences(derived: Derivations, terminals: int) -> np.ndarray:
    """Whether each symbol is the last occurrence of its terminal in its document."""
    index = np.arange(len(derived.labels))
    cell = derived.documents * terminals + derived.labels
    if len(derived.lengths) * terminals > LARGEST_TABLE:
        last = np.zeros(len(index), bool)
        last[len(index) - 1 - np.unique(cell[::-1], return_index=True)[1]] = True
        return last
    # Uninitialised, since every entry that is read was written, last by the last occurrence.
    latest = np.empty(len(derived.lengths) * terminals, np.int64)
    latest[cell] = index
    return latest[cell] == index


def eligible_pairs(
    derived: Derivations, query_type: str, last: np.ndarray, cells: AskableCells
) -> Pairs:
    """All pairs that can be asked.

    Args:
        derived: Derivations of the documents.
        query_type: One of `QUERY_TYPES`.
        last: Mask of the symbols that may be queries, such as `last_occurrences`.
        cells: Cells that may be asked.
    """
    index, parents, labels = np.arange(len(derived.labels)), derived.parents, derived.labels
    nested = parents != ROOT
    if query_type == "parent":
        queries = index[last & nested]
        answers = parents[queries]
    elif query_type == "child":
        answers = index[nested]
        answers = answers[last[parents[answers]]]
        queries = parents[answers]
    else:
        youngest = np.empty(len(index), np.int64)
        youngest[parents[nested]] = index[nested]
        sibling = index.copy()
        sibling[nested] = youngest[parents[nested]]
        queries = index[last & last[sibling]]
        answers = sibling[queries]
    cell = (queries, answers) if query_type == "child" else (answers, queries)
    allowed = cells.allow(*(labels[side] for side in cell))
    pairs = Pairs(derived.documents[queries], queries, answers)
    return pairs.where(allowed)


def choose_pairs(
    draw: np.random.Generator, by_type: dict[str, Pairs], order: str, documents: int
) -> tuple[Pairs, np.ndarray]:
    """Draw one pair for each document that has any.

    Args:
        draw: Random number generator.
        by_type: Pairs that can be asked, by type of query.
        order: With ``target_first``, the answer is uniform over the distinct answers and then
            the query over those with this answer; with ``query_first``, the other way round.
        documents: Number of documents.

    Returns:
        The pairs, and the index in `by_type` of the type of each, which is uniform over the
        types with a pair in the document.
    """
    counts = np.stack([np.bincount(p.documents, minlength=documents) for p in by_type.values()])
    kind = _uniform_type(draw, counts > 0)
    chosen = []
    for i, pairs in enumerate(by_type.values()):
        pairs = pairs.where(kind[pairs.documents] == i)
        sides = [pairs.answers, pairs.queries]
        outer, inner = sides if order == "target_first" else sides[::-1]
        picked = _pick(draw, *_distinct(outer, pairs.documents), documents)
        left = outer == picked[pairs.documents]
        last = _pick(draw, inner[left], pairs.documents[left], documents)
        chosen.append((picked, last) if order == "target_first" else (last, picked))
    asked = np.flatnonzero(counts.any(axis=0))
    kind = kind[asked]
    answers, queries = (
        np.stack([side[i] for side in chosen])[:, asked][kind, np.arange(len(asked))]
        for i in (0, 1)
    )
    return Pairs(asked, queries, answers), kind


def _uniform_type(draw: np.random.Generator, available: np.ndarray) -> np.ndarray:
    """A uniform index among the available types of each document; 0 where there is none."""
    rank = (draw.random(available.shape[1]) * available.sum(axis=0)).astype(np.int64)
    return np.argmax(available & (available.cumsum(axis=0) > rank[None]), axis=0)


def _distinct(positions: np.ndarray, documents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct positions in rising order, and their documents."""
    if not len(positions):
        return positions, documents
    size = positions.max() + 1
    seen, owner = np.zeros(size, bool), np.empty(size, documents.dtype)
    seen[positions] = True
    owner[positions] = documents
    distinct = np.flatnonzero(seen)
    return distinct, owner[distinct]


def _pick(
    draw: np.random.Generator, positions: np.ndarray, documents: np.ndarray, count: int
) -> np.ndarray:
    """A uniform position of each document, from positions sorted by document; -1 for none."""
    found = np.bincount(documents, minlength=count)
    first = np.cumsum(found) - found
    rank = (draw.random(count) * found).astype(np.int64)
    picked = np.full(count, -1, np.int64)
    some = found > 0
    picked[some] = positions[(first + rank)[some]]
    return picked


def statistics(
    derived: Derivations, by_type: dict[str, Pairs], asked: Pairs, terminals: int
) -> dict[str, np.ndarray]:
    """Statistics of the documents that have a query.

    Args:
        derived: Derivations of all documents.
        by_type: Pairs that can be asked, by type of query.
        asked: Pair of each document that has one.
        terminals: Number of terminals.

    Returns:
        One number per asked document, by name: ``length`` of the yield, ``depth`` of the
        derivation, ``branching`` (mean number of symbols of its rules), ``repeated`` (share of the
        symbols whose terminal occurs again later), ``distance`` in tokens between query and
        answer, and numbers of ``eligible_pairs``, ``eligible_queries``, ``eligible_answers``.
    """
    lengths, documents = derived.lengths, len(derived.lengths)
    last = last_occurrences(derived, terminals)
    distinct = np.bincount(derived.documents[last], minlength=documents)

    def count(sides: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
        positions, owners = (np.concatenate(parts) for parts in zip(*sides, strict=True))
        return np.bincount(_distinct(positions, owners)[1], minlength=documents)

    pairs = list(by_type.values())
    of_each = {
        "length": lengths,
        "depth": derived.depths,
        "branching": (lengths - 1) / derived.expansions,
        "repeated": 1 - distinct / lengths,
        "eligible_pairs": sum(
            np.bincount(p.documents, minlength=documents) for p in by_type.values()
        ),
        "eligible_queries": count([(p.queries, p.documents) for p in pairs]),
        "eligible_answers": count([(p.answers, p.documents) for p in pairs]),
    }
    found = {name: values[asked.documents] for name, values in of_each.items()}
    return found | {"distance": np.abs(asked.answers - asked.queries)}
