"""Floors of one's own documents, beside those that all packed documents have.

The guesses at the answer to a query, and all that each depends on:

    from_start   the token at a distance from the start of the document
    from_query   the token at a distance from the end of what is read, the divider or the query
    frequent     the token that can be an answer which stands there most often
    elimination  any token that can be an answer and was not the answer of an earlier query, where
                 answers stand in the document

Distances are those that are right in most train documents, among queries with as many earlier ones
in their document; with fewer than `FEWEST` of these, among all. Everything else is as in
`tasks.packed_floors`.
"""

from collections.abc import Callable

import numpy as np

from mecheval_jax.array_types import Float, Int
from mecheval_jax.tasks.base import asked_positions
from mecheval_jax.tasks.packed import Packed
from mecheval_jax.tasks.packed_floors import (
    FEWEST,
    NONE,
    Guesses,
    accuracy,
    at_distance,
    ends_of,
    in_document,
    mean_of,
    sorted_by_token,
    times_between,
)


def place_floors(train: Packed, documents: Packed) -> dict[str, float]:
    """Accuracies of what stands at a fixed place: ``from_start`` and ``from_query``."""
    return {
        name: accuracy(_at_fixed_place(train, documents, anchor), documents)
        for name, anchor in (("from_start", _starts), ("from_query", ends_of))
    }


def _starts(documents: Packed) -> Int[np.ndarray, "documents queries"]:
    """Index, among all tokens, of the start of each query's document."""
    return np.broadcast_to(documents.starts[:-1, None], documents.targets.shape)


def _at_fixed_place(
    train: Packed, documents: Packed, anchor: Callable[[Packed], np.ndarray]
) -> Guesses:
    """Guess the token at the distance from an anchor that is right most often in training.

    Args:
        train: Train documents, in which distances are counted.
        documents: Documents whose queries are guessed.
        anchor: Index, among all tokens, of the place from which each query's distances count.
    """
    ranks, anchors, furthest = _ranks(train), anchor(train), train.longest
    size = 2 * furthest + 1
    table = np.zeros((int(ranks.max()) + 1) * size)
    # Where the answer stands, by ranges of the sorted tokens: to look at all tokens for each query
    # takes minutes where long documents have many.
    keys, wanted = sorted_by_token(train, train.targets)
    firsts = np.searchsorted(keys, wanted + train.starts[:-1, None])
    times = times_between(keys, wanted, train.starts[:-1, None], ends_of(train))
    times = np.where(train.weights > 0, times, 0)
    for query, number in enumerate(times.T):
        row = np.repeat(np.arange(len(train)), number)
        shift = firsts[:, query] - (np.cumsum(number) - number)
        at = keys[np.arange(len(row)) + shift[row]] % (len(train.tokens) + 1)
        distances = at - anchors[row, query] + furthest
        np.add.at(table, ranks[row, query] * size + distances, 1)
    table = table.reshape(-1, size)
    asked_often = np.bincount(ranks[train.weights > 0], minlength=len(table)) >= FEWEST
    overall = table.sum(axis=0).argmax()
    chosen = np.where(asked_often, table.argmax(axis=1), overall)
    rank = _ranks(documents)
    place = np.where(rank < len(chosen), chosen[np.minimum(rank, len(chosen) - 1)], overall)
    return at_distance(documents, anchor(documents), place - furthest)


def _ranks(documents: Packed) -> Int[np.ndarray, "documents queries"]:
    """Number of a document's queries that stand before each one."""
    places = asked_positions(documents)
    earlier = [((places >= 0) & (places < at[:, None])).sum(axis=1) for at in places.T]
    return np.stack(earlier, axis=1)


def value_floors(documents: Packed, answers: Int[np.ndarray, " answers"]) -> dict[str, float]:
    """Expected accuracies of ``frequent``, and of ``elimination`` if there are several queries."""
    floors = {"frequent": mean_of(_most_frequent(documents, answers), documents)}
    if documents.targets.shape[1] > 1 and "answer" in documents.roles:
        floors["elimination"] = in_document(documents, answers, eliminate=True)
    return floors


def _most_frequent(
    documents: Packed, answers: Int[np.ndarray, " answers"]
) -> Float[np.ndarray, "documents queries"]:
    """Probability of each answer, of a uniform guess at the commonest tokens before the query."""
    keys, wanted = sorted_by_token(documents, documents.targets)
    starts, ends = documents.starts[:-1], ends_of(documents)
    # One key for each token that can be an answer, of each document that has it.
    places = len(documents.tokens) + 1
    firsts = keys[np.flatnonzero(np.diff(keys // places, prepend=NONE))]
    firsts = firsts[np.isin(documents.tokens[firsts % places], answers)]
    row = np.searchsorted(documents.starts, firsts % places, side="right") - 1
    tokens = firsts - firsts % places
    shares = np.zeros(documents.targets.shape)
    for query, own in enumerate(times_between(keys, wanted, starts[:, None], ends).T):
        times = times_between(keys, tokens, starts[row], ends[row, query])
        most = np.zeros(len(documents), np.int64)
        np.maximum.at(most, row, times)
        alike = np.bincount(row, times == most[row], len(documents))
        shares[:, query] = ((own == most) & (own > 0)) / np.maximum(alike, 1)
    return shares * np.isin(documents.targets, answers)
