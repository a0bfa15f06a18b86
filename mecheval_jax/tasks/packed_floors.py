"""Floors of packed documents: what is right by statistics or copying, fitted on train documents.

Each is a guess at the answer to every query, a function of no more than

    copy_next           the token after the last occurrence of the asked token
    copy_previous       the token before it
    copy_query          the asked token
    copy_last           the last token that can be an answer
    copy_first          the first one
    majority            nothing: the commonest answer
    per_query_majority  the asked token: the commonest answer to it
    bigram              the asked token: its commonest successor that can be an answer
    in_document         which answers the document has: one of their occurrences, uniform
    by_type             where a token tells the type of a query: for each type the guess that does
                        best on train documents

What is commonest is counted in train documents, and accuracies in the documents that are judged.
Copies look at what comes before the divider, or before the query in a document without one. A
guess that a document does not allow is wrong.
"""

import numpy as np

from mecheval_jax.array_types import Int
from mecheval_jax.tasks.packed import Packed

NONE = -1
"""No guess; no token has this id."""

TYPE = "query_type"
"""The role of a token that tells the type of the query."""

Guesses = Int[np.ndarray, "documents queries"]


def packed_floors(
    train: Packed, documents: Packed, answers: Int[np.ndarray, " answers"] | None = None
) -> dict[str, float]:
    """Accuracies, each between 0 and 1, of all guesses but the uniform one.

    Args:
        train: what is counted to fit them.
        documents: whose queries are answered; those of weight 0 do not count.
        answers: tokens that can be an answer; those of train documents if None.

    Returns:
        ``copy_next``, ``copy_previous``, ``copy_query``, ``copy_last``, ``copy_first``,
        ``majority``, ``per_query_majority``, ``bigram``, with types of queries ``by_type``, and
        ``best``, the highest of these.
    """
    answers = answer_class(train) if answers is None else answers
    guesses = guess(train, documents, answers)
    floors = {name: accuracy(guessed, documents) for name, guessed in guesses.items()}
    if TYPE in documents.roles:
        floors["by_type"] = _by_type(train, documents, answers)
    return floors | {"best": max(floors.values())}


def guess(
    train: Packed, documents: Packed, answers: Int[np.ndarray, " answers"]
) -> dict[str, Guesses]:
    """All guesses that do not depend on the type of the query."""
    return {
        "copy_next": copy_beside(documents, 1),
        "copy_previous": copy_beside(documents, -1),
        "copy_query": asked(documents),
        "copy_last": copy_last(documents, answers),
        "copy_first": copy_first(documents, answers),
        "majority": majority(train, documents),
        "per_query_majority": per_query_majority(train, documents),
        "bigram": bigram(train, documents, answers),
    }


def _by_type(train: Packed, documents: Packed, answers: np.ndarray) -> float:
    """Accuracy of the guess that suits each type of query."""
    right, kinds, of_train = 0.0, _types(documents), _types(train)
    for kind in np.unique(kinds):
        judged, known = (
            packed.take(np.flatnonzero(types == kind))
            for packed, types in ((documents, kinds), (train, of_train))
        )
        # Half of the train documents choose between guesses that are fitted to the other half.
        fitted, choosing = known[: len(known) // 2], known[len(known) // 2 :]
        if not len(fitted):
            continue
        tried = guess(fitted, choosing, answers)
        best = max(tried, key=lambda name: accuracy(tried[name], choosing))
        right += len(judged) * accuracy(guess(known, judged, answers)[best], judged)
    return right / len(documents)


def _types(documents: Packed) -> Int[np.ndarray, " documents"]:
    """The token that tells the type of each document's first query."""
    return documents.tokens[documents.starts[:-1] + documents.roles[TYPE][:, 0]]


def accuracy(guesses: Guesses, documents: Packed) -> float:
    """Share of the queries, by weight, whose answer is guessed."""
    return _mean(guesses == documents.targets, documents)


def _mean(scores: np.ndarray, documents: Packed) -> float:
    """Mean over queries by weight, in double precision: counts stay exact."""
    weights = documents.weights.astype(np.float64)
    return float((scores * weights).sum() / weights.sum())


def answer_class(train: Packed) -> Int[np.ndarray, " answers"]:
    """The tokens that are an answer somewhere, in order."""
    return np.unique(train.targets[train.weights > 0])


def copy_beside(documents: Packed, distance: int) -> Guesses:
    """The token so far after the last occurrence of the asked token."""
    positions = _last_occurrence(documents, asked(documents))
    beside = positions + distance
    inside = (positions >= 0) & (beside >= documents.starts[:-1, None])
    inside &= beside < documents.starts[1:, None]
    return np.where(inside, documents.tokens[np.where(inside, beside, 0)], NONE)


def copy_last(documents: Packed, answers: Int[np.ndarray, " answers"]) -> Guesses:
    """The last token that can be an answer."""
    index = np.arange(len(documents.tokens))
    last = np.maximum.accumulate(np.where(np.isin(documents.tokens, answers), index, NONE))
    position = last[_ends(documents) - 1]
    return np.where(position < documents.starts[:-1, None], NONE, documents.tokens[position])


def copy_first(documents: Packed, answers: Int[np.ndarray, " answers"]) -> Guesses:
    """The first token that can be an answer."""
    size = len(documents.tokens)
    places = np.where(np.isin(documents.tokens, answers), np.arange(size), size)
    first = np.minimum.accumulate(places[::-1])[::-1][documents.starts[:-1, None]]
    return np.where(first < _ends(documents), documents.tokens[np.minimum(first, size - 1)], NONE)


def majority(train: Packed, documents: Packed) -> Guesses:
    """The commonest answer."""
    tokens, counts = np.unique(train.targets[train.weights > 0], return_counts=True)
    return np.full(documents.targets.shape, tokens[counts.argmax()])


def per_query_majority(train: Packed, documents: Packed) -> Guesses:
    """The commonest answer to the asked token; to one that was never asked, the commonest."""
    counts = train.weights > 0
    guesses = _commonest(asked(train)[counts], train.targets[counts], asked(documents))
    return np.where(guesses == NONE, majority(train, documents), guesses)


def bigram(train: Packed, documents: Packed, answers: Int[np.ndarray, " answers"]) -> Guesses:
    """The commonest successor of the asked token that can be an answer.

    Successors are counted before the divider (in all of a document without one).
    """
    inside = np.ones(len(train.tokens), bool)
    if "divider" in train.roles:
        inside = _positions_in_document(train) < np.repeat(
            train.roles["divider"][:, 0], train.lengths
        )
    last = np.zeros(len(train.tokens), bool)
    last[train.starts[1:] - 1] = True
    pairs = inside[:-1] & inside[1:] & ~last[:-1] & np.isin(train.tokens[1:], answers)
    return _commonest(train.tokens[:-1][pairs], train.tokens[1:][pairs], asked(documents))


def in_document(documents: Packed, answers: Int[np.ndarray, " answers"]) -> float:
    """Accuracy of one of the document's tokens that can be an answer, each as likely."""
    is_answer = np.isin(documents.tokens, answers)
    before = np.concatenate([[0], np.cumsum(is_answer)])
    ends, starts = _ends(documents), documents.starts[:-1, None]
    candidates = before[ends] - before[starts]
    keys, wanted = _sorted_by_token(documents, documents.targets)
    right = np.searchsorted(keys, wanted + ends) - np.searchsorted(keys, wanted + starts)
    shares = right * np.isin(documents.targets, answers) / np.maximum(candidates, 1)
    return _mean(shares, documents)


def asked(documents: Packed) -> Guesses:
    """The token that each query asks about: that of the role ``query``."""
    positions = documents.roles.get("query", documents.query_positions)
    # Places that are not used may hold no position.
    return documents.tokens[documents.starts[:-1, None] + np.maximum(positions, 0)]


def _ends(documents: Packed) -> Int[np.ndarray, "documents queries"]:
    """Where, among all tokens, what a copy looks at ends: at the divider, or at the query."""
    queries = documents.roles.get("query", documents.query_positions)
    ends = np.broadcast_to(documents.roles.get("divider", queries), queries.shape)
    ends = np.where(ends < 0, queries, ends)
    return documents.starts[:-1, None] + np.maximum(ends, 1)


def _positions_in_document(documents: Packed) -> Int[np.ndarray, " tokens"]:
    return np.arange(len(documents.tokens)) - np.repeat(documents.starts[:-1], documents.lengths)


def _sorted_by_token(documents: Packed, wanted: Guesses):
    """A sorted number for each token, by document, then token, then place.

    Returns:
        The numbers; and for each wanted token the one that it would have at place 0, to which
        a place among all tokens can be added.
    """
    places = np.int64(len(documents.tokens) + 1)
    vocabulary = np.int64(max(documents.tokens.max(initial=0), wanted.max(initial=0)) + 1)
    document = np.arange(len(documents), dtype=np.int64)
    of_tokens = np.repeat(document, documents.lengths) * vocabulary + documents.tokens
    keys = np.sort(of_tokens * places + np.arange(len(documents.tokens)))
    return keys, (document[:, None] * vocabulary + wanted) * places


def _last_occurrence(documents: Packed, wanted: Guesses) -> Guesses:
    """Where, among all tokens, a wanted token stands last before the end; `NONE` if nowhere."""
    keys, first = _sorted_by_token(documents, wanted)
    found = keys[np.maximum(np.searchsorted(keys, first + _ends(documents)) - 1, 0)]
    positions = found - first
    return np.where((positions >= 0) & (positions < len(documents.tokens)), positions, NONE)


def _commonest(given: np.ndarray, following: np.ndarray, wanted: Guesses) -> Guesses:
    """What most often followed each wanted token; `NONE` after one that was never given."""
    pairs, counts = np.unique(np.stack([given, following]), axis=1, return_counts=True)
    size = int(max(given.max(initial=0), wanted.max(initial=0))) + 1
    table = np.full(size, NONE, np.int64)
    order = np.lexsort((-pairs[1], counts))  # the last that is written wins: of equals the lowest
    table[pairs[0][order]] = pairs[1][order]
    return table[wanted]
