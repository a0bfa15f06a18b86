"""Floors of packed documents: accuracies of guesses by copying or by counting.

The guesses at the answer to a query, and all that each depends on:

    copy_next           the token after the last occurrence of the asked token
    copy_previous       the token before it
    copy_query          the asked token itself
    copy_last           the last token that can be an answer
    copy_first          the first token that can be an answer
    majority            the commonest answer
    per_query_majority  the commonest answer to the asked token
    bigram              the commonest successor of the asked token that can be an answer
    offset              the token at a distance from the last occurrence of the asked token, the
                        distance chosen by the length of what is read and by where it stands
    offset_by_tokens    the same, chosen by the asked token and the token after it
    in_document         a uniform occurrence in the document of a token that can be an answer
    by_type             if a token tells the type of a query: for each type, the guess that is
                        best on train documents

Of the distances within `FURTHEST` the one is chosen that is right in most train documents of the
same length and place; of fewer than `FEWEST` such documents, in most of all. Counts are taken over
train documents, accuracies over the documents that are judged. Copies read the tokens before the
divider, or before the query if there is none. If a document does not contain what a guess needs,
the guess counts as wrong.
"""

from collections.abc import Callable

import numpy as np

from mecheval_jax.array_types import Int
from mecheval_jax.tasks.base import asked_positions, divider_or
from mecheval_jax.tasks.packed import Packed

FURTHEST = 24
"""Greatest distance of an offset, in tokens."""

FEWEST = 4
"""Train documents with the same length and place, or tokens, that choose their own distance."""

NONE = -1
"""No guess; no token has this id."""

TYPE = "query_type"
"""Role of the token that tells the type of the query."""

Guesses = Int[np.ndarray, "documents queries"]


def packed_floors(
    train: Packed, documents: Packed, answers: Int[np.ndarray, " answers"] | None = None
) -> dict[str, float]:
    """Accuracies, 0 to 1, of all guesses but ``in_document``.

    Args:
        train: Train documents, in which answers and successors are counted.
        documents: Documents whose queries are guessed; queries of weight 0 do not count.
        answers: Tokens that can be an answer; the answers in `train` if None.

    Returns:
        Accuracies by the names above, ``by_type`` only if queries have types.
    """
    answers = answer_class(train) if answers is None else answers
    guesses = guess(train, documents, answers)
    floors = {name: accuracy(guessed, documents) for name, guessed in guesses.items()}
    if TYPE in documents.roles:
        floors["by_type"] = _by_type(train, documents, answers)
    return floors


def guess(
    train: Packed, documents: Packed, answers: Int[np.ndarray, " answers"]
) -> dict[str, Guesses]:
    """All guesses that do not depend on the type of the query, by name."""
    return {
        "copy_next": copy_beside(documents, 1),
        "copy_previous": copy_beside(documents, -1),
        "copy_query": asked(documents),
        "copy_last": copy_last(documents, answers),
        "copy_first": copy_first(documents, answers),
        "majority": majority(train, documents),
        "per_query_majority": per_query_majority(train, documents),
        "bigram": bigram(train, documents, answers),
        "offset": offset(train, documents, _by_place),
        "offset_by_tokens": offset(train, documents, _by_tokens),
    }


def _by_type(train: Packed, documents: Packed, answers: np.ndarray) -> float:
    """Accuracy of taking, for each type of query, the guess that is best in training."""
    right, kinds, of_train = 0.0, _types(documents), _types(train)
    for kind in np.unique(kinds):
        judged, known = (
            packed.take(np.flatnonzero(types == kind))
            for packed, types in ((documents, kinds), (train, of_train))
        )
        # The guess is chosen on half of the train documents, after fitting to the other half.
        fitted, choosing = known[: len(known) // 2], known[len(known) // 2 :]
        if not len(fitted):
            continue
        tried = guess(fitted, choosing, answers)
        best = max(tried, key=lambda name: accuracy(tried[name], choosing))
        right += len(judged) * accuracy(guess(known, judged, answers)[best], judged)
    return right / len(documents)


def _types(documents: Packed) -> Int[np.ndarray, " documents"]:
    """Token that tells the type of each document's first query."""
    return documents.tokens[documents.starts[:-1] + documents.roles[TYPE][:, 0]]


def accuracy(guesses: Guesses, documents: Packed) -> float:
    """Share of the queries, by weight, whose answer is guessed right."""
    return mean_of(guesses == documents.targets, documents)


def mean_of(scores: np.ndarray, documents: Packed) -> float:
    """Weighted mean over queries, in float64 so that counts stay exact."""
    weights = documents.weights.astype(np.float64)
    return float((scores * weights).sum() / weights.sum())


def answer_class(train: Packed) -> Int[np.ndarray, " answers"]:
    """Tokens that answer some train query, in rising order."""
    return np.unique(train.targets[train.weights > 0])


def copy_beside(documents: Packed, distance: int) -> Guesses:
    """Guess the token `distance` places after the last occurrence of the asked token."""
    return at_distance(documents, _last_occurrence(documents, asked(documents)), distance)


def copy_last(documents: Packed, answers: Int[np.ndarray, " answers"]) -> Guesses:
    """Guess the last token that can be an answer."""
    index = np.arange(len(documents.tokens))
    last = np.maximum.accumulate(np.where(np.isin(documents.tokens, answers), index, NONE))
    position = last[ends_of(documents) - 1]
    return np.where(position < documents.starts[:-1, None], NONE, documents.tokens[position])


def copy_first(documents: Packed, answers: Int[np.ndarray, " answers"]) -> Guesses:
    """Guess the first token that can be an answer."""
    size = len(documents.tokens)
    places = np.where(np.isin(documents.tokens, answers), np.arange(size), size)
    first = np.minimum.accumulate(places[::-1])[::-1][documents.starts[:-1, None]]
    return np.where(first < ends_of(documents), documents.tokens[np.minimum(first, size - 1)], NONE)


def majority(train: Packed, documents: Packed) -> Guesses:
    """Guess the commonest answer of the train documents."""
    tokens, counts = np.unique(train.targets[train.weights > 0], return_counts=True)
    return np.full(documents.targets.shape, tokens[counts.argmax()])


def per_query_majority(train: Packed, documents: Packed) -> Guesses:
    """Guess the commonest answer to the asked token, or to all if it was never asked."""
    counts = train.weights > 0
    guesses = _commonest(asked(train)[counts], train.targets[counts], asked(documents))
    return np.where(guesses == NONE, majority(train, documents), guesses)


def bigram(train: Packed, documents: Packed, answers: Int[np.ndarray, " answers"]) -> Guesses:
    """Guess the commonest successor of the asked token that can be an answer.

    Successors are counted before the divider, or in the whole document if there is none.
    """
    stops = divider_or(train, np.asarray(train.lengths)[:, None])[:, 0]
    inside = _positions_in_document(train) < np.repeat(stops, train.lengths)
    last = np.zeros(len(train.tokens), bool)
    last[train.starts[1:] - 1] = True
    pairs = inside[:-1] & inside[1:] & ~last[:-1] & np.isin(train.tokens[1:], answers)
    return _commonest(train.tokens[:-1][pairs], train.tokens[1:][pairs], asked(documents))


def offset(
    train: Packed, documents: Packed, described: Callable[[Packed, np.ndarray], np.ndarray]
) -> Guesses:
    """Guess the token at the distance from the asked one that is right most often in training.

    Args:
        train: Train documents, in which distances are counted.
        documents: Documents whose queries are guessed.
        described: Numbers [query, number] by which distances are chosen, of documents and the
            index of each query's asked token among all tokens.
    """
    distances = np.arange(-FURTHEST, FURTHEST + 1)
    positions = _last_occurrence(train, asked(train))
    asks = (train.weights > 0) & (positions >= 0)
    right = [at_distance(train, positions, int(d))[asks] == train.targets[asks] for d in distances]
    right = np.stack(right)
    overall = int(right.sum(axis=1).argmax()) if right.size else 0
    wanted = _last_occurrence(documents, asked(documents))
    kinds, of_documents = described(train, positions)[asks], described(documents, wanted)
    # A description is one number; `NONE` is the least that is in it.
    size = int(max(kinds.max(initial=0), of_documents.max(initial=0))) + 2
    known, cell = np.unique(_as_one(kinds, size), return_inverse=True)
    table = np.stack([np.bincount(cell, hits, len(known)) for hits in right], axis=1)
    often = np.bincount(cell, minlength=len(known)) >= FEWEST
    chosen = np.where(often, table.argmax(axis=1), overall)
    # What each query is guessed to be, one distance at a time.
    use = np.full(wanted.shape, overall)
    if len(known):
        numbers = _as_one(of_documents, size)
        at = np.minimum(np.searchsorted(known, numbers), len(known) - 1)
        use = np.where(known[at] == numbers, chosen[at], overall)
    guesses = np.full(wanted.shape, NONE)
    for number, distance in enumerate(distances):
        beside = at_distance(documents, wanted, int(distance))
        guesses = np.where(use == number, beside, guesses)
    return guesses


def _as_one(rows: np.ndarray, size: int) -> np.ndarray:
    """Two numbers from `NONE` to `size` - 2 along the last axis as one."""
    first, second = np.moveaxis(rows.astype(np.int64) - NONE, -1, 0)
    return first * size + second


def at_distance(documents: Packed, positions: np.ndarray, distance: int | np.ndarray) -> Guesses:
    """Tokens so far from some positions, `NONE` outside of what copies read."""
    places = positions + distance
    inside = (positions >= 0) & (places >= documents.starts[:-1, None])
    inside &= places < ends_of(documents)
    return np.where(inside, documents.tokens[np.where(inside, places, 0)], NONE)


def _by_place(documents: Packed, positions: np.ndarray) -> np.ndarray:
    """Length of what copies read, and tokens from the asked one to its end."""
    ends = ends_of(documents)
    return np.stack([ends - documents.starts[:-1, None], ends - positions], axis=-1)


def _by_tokens(documents: Packed, positions: np.ndarray) -> np.ndarray:
    """The asked token, and the one after its last occurrence; `NONE` behind what copies read."""
    behind = np.minimum(positions + 1, len(documents.tokens) - 1)
    following = np.where(positions + 1 < ends_of(documents), documents.tokens[behind], NONE)
    return np.stack([asked(documents), following], axis=-1)


def in_document(
    documents: Packed, answers: Int[np.ndarray, " answers"], *, eliminate: bool = False
) -> float:
    """Expected accuracy of a uniform occurrence of a token that can be an answer.

    With `eliminate` no token is guessed that was the answer of an earlier query and stands before
    the query as such.
    """
    before = np.concatenate([[0], np.cumsum(np.isin(documents.tokens, answers))])
    ends, starts = ends_of(documents), documents.starts[:-1, None]
    candidates = before[ends] - before[starts]
    keys, wanted = sorted_by_token(documents, documents.targets)
    possible = np.isin(documents.targets, answers)
    right = times_between(keys, wanted, starts, ends) * possible
    if eliminate:
        given, asks = documents.roles["answer"], asked_positions(documents)
        for query in range(right.shape[1]):
            one = slice(query, query + 1)
            earlier = possible & (given >= 0) & (given <= asks[:, one])
            gone = np.sort(np.where(earlier, wanted, NONE), axis=1)
            # Of equal answers one: its occurrences are struck out once.
            distinct = np.diff(gone, axis=1, prepend=NONE) > 0
            struck = times_between(keys, np.maximum(gone, 0), starts, ends[:, one]) * distinct
            candidates[:, query] -= struck.sum(axis=1)
            right[:, query] *= ~(earlier & (wanted == wanted[:, one])).any(axis=1)
    return mean_of(right / np.maximum(candidates, 1), documents)


def asked(documents: Packed) -> Guesses:
    """Token that each query asks about, at the role ``query`` or else where it is answered."""
    # Unused places may be `ABSENT`.
    places = np.maximum(asked_positions(documents), 0)
    return documents.tokens[documents.starts[:-1, None] + places]


def ends_of(documents: Packed) -> Int[np.ndarray, "documents queries"]:
    """Index, among all tokens, of the end of what copies read: the divider or the query."""
    queries = asked_positions(documents)
    return documents.starts[:-1, None] + np.maximum(divider_or(documents, queries), 1)


def _positions_in_document(documents: Packed) -> Int[np.ndarray, " tokens"]:
    return np.arange(len(documents.tokens)) - np.repeat(documents.starts[:-1], documents.lengths)


def sorted_by_token(documents: Packed, wanted: Guesses) -> tuple[np.ndarray, np.ndarray]:
    """Sort keys of all tokens, ordered by document, then token, then place.

    Returns:
        The sorted keys, int64; and the key of each wanted token at place 0, to which a place
        among all tokens can be added.
    """
    places = np.int64(len(documents.tokens) + 1)
    vocabulary = np.int64(max(documents.tokens.max(initial=0), wanted.max(initial=0)) + 1)
    document = np.arange(len(documents), dtype=np.int64)
    of_tokens = np.repeat(document, documents.lengths) * vocabulary + documents.tokens
    keys = np.sort(of_tokens * places + np.arange(len(documents.tokens)))
    return keys, (document[:, None] * vocabulary + wanted) * places


def times_between(
    keys: np.ndarray, tokens: np.ndarray, starts: np.ndarray, ends: np.ndarray
) -> Int[np.ndarray, "..."]:
    """How often tokens stand between two places among all tokens, by `sorted_by_token`."""
    return np.searchsorted(keys, tokens + ends) - np.searchsorted(keys, tokens + starts)


def _last_occurrence(documents: Packed, wanted: Guesses) -> Guesses:
    """Index, among all tokens, of the last occurrence of each wanted token; `NONE` if none."""
    keys, first = sorted_by_token(documents, wanted)
    found = keys[np.maximum(np.searchsorted(keys, first + ends_of(documents)) - 1, 0)]
    positions = found - first
    return np.where((positions >= 0) & (positions < len(documents.tokens)), positions, NONE)


def _commonest(given: np.ndarray, following: np.ndarray, wanted: Guesses) -> Guesses:
    """The commonest follower of each wanted token; `NONE` for a token that was never given."""
    # A pair is one number: of rows, which have to be compared one by one, the counts take long.
    size = int(following.max(initial=0)) + 1
    pairs, counts = np.unique(given.astype(np.int64) * size + following, return_counts=True)
    firsts, seconds = np.divmod(pairs, size)
    table = np.full(int(max(given.max(initial=0), wanted.max(initial=0))) + 1, NONE, np.int64)
    order = np.lexsort((-seconds, counts))  # the last write wins: of ties the lowest
    table[firsts[order]] = seconds[order]
    return table[wanted]
