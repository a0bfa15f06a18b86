"""Floors of recall tasks: accuracies of heuristics that need no recall.

A model whose accuracy is at a floor may have learned the statistics of the documents alone. Each
heuristic is of one of three kinds (`KINDS`):

    positional   reads a token by where it stands, whatever it is
    statistical  guesses by counts: of training documents, or of the tokens in this one
    recall-like  finds the asked item in the document and reads beside it; where pairs stand side
                 by side that is what recall does

``best`` is the highest of the first two kinds, and what a model has to exceed; a task says which
of its own are recall-like, and these are only shown.

`recall_floors` measures them in the documents of a synthetic recall task, `tasks.packed_floors` in
packed documents: those of a grammar, and one's own. `Task.floors` puts those of a task together.
"""

import functools
from collections.abc import Callable, Collection, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from mecheval_jax.array_types import Array, Bool
from mecheval_jax.tasks.base import Batch

POSITIONAL, STATISTICAL, RECALL_LIKE = "positional", "statistical", "recall-like"

KINDS: dict[str, tuple[str, str]] = {
    "uniform": (STATISTICAL, "any token of the answer's class"),
    "in_document": (STATISTICAL, "any token of the class in this document"),
    "frequent": (STATISTICAL, "the token of the class that this document has most often"),
    "elimination": (STATISTICAL, "any of the document's that was not answered before"),
    "split": (STATISTICAL, "any of the document's that this split may pair with what is asked"),
    "split_elimination": (STATISTICAL, "any of these that was not answered before"),
    "half_key": (STATISTICAL, "any of the document's whose key shares one of its two tokens"),
    "first_bound": (STATISTICAL, "the value that was bound first to what is asked"),
    "majority": (STATISTICAL, "the commonest answer in training"),
    "per_query_majority": (STATISTICAL, "the commonest answer to what is asked"),
    "bigram": (STATISTICAL, "the commonest successor in training of what is asked"),
    "class_successor": (STATISTICAL, "the commonest token after any of the asked one's class"),
    "first": (POSITIONAL, "the first token of the class"),
    "last": (POSITIONAL, "the last token of the class"),
    "copy_first": (POSITIONAL, "the first token that can be an answer"),
    "copy_last": (POSITIONAL, "the last token that can be an answer"),
    "from_start": (
        POSITIONAL,
        "the token so far from the start that is right most often in training, of queries with "
        "as many before them",
    ),
    "from_query": (
        POSITIONAL,
        "the token so far from the query that is right most often in training, of queries with "
        "as many before them",
    ),
    "copy_query": (POSITIONAL, "what is asked, itself"),
    "copy_next": (POSITIONAL, "the token after what is asked: where it stands is all that counts"),
    "copy_previous": (POSITIONAL, "the token before what is asked"),
    "offset": (
        POSITIONAL,
        "the token at a distance from what is asked, chosen by where that stands and how long the "
        "document is",
    ),
    "offset_by_tokens": (
        STATISTICAL,
        "the token at a distance from what is asked, chosen by that token and the next",
    ),
    "by_type": (STATISTICAL, "for each type of query the guess that is best in training"),
}
"""Kind of each heuristic, and what it guesses."""


def kind_of(name: str, recall_like: Collection[str] = ()) -> tuple[str, str]:
    """Kind of a floor, and a sentence that says why.

    Args:
        name: Name in `KINDS`.
        recall_like: Those that are recall in a task's documents (`Task.recall_like`).
    """
    kind, what = KINDS[name]
    if name in recall_like:
        return RECALL_LIKE, f"{what}; not counted: in these documents this is itself recall"
    return kind, what


def with_best(floors: Mapping[str, float], recall_like: Collection[str] = ()) -> dict[str, float]:
    """Floors with ``best``, the highest of those that are not recall-like."""
    counted = [value for name, value in floors.items() if name not in recall_like]
    return {**floors, "best": max(counted)}


PART = 2**24
"""Greatest number of entries (documents x queries x tokens, or documents x answers) of an array."""

MayPair = Callable[[Batch], Bool[Array, "batch queries length"]]
"""Whether a split asks each token of documents together with what is asked."""


def recall_floors(
    train: Batch, batch: Batch, answers: range, may_pair: MayPair | None = None
) -> dict[str, float]:
    """Floors of a task whose answer is a token of one class that occurs in the document.

    A heuristic reads the tokens before the divider, or before the query if there is none.

    Args:
        train: Sampled train documents, in which answers are counted.
        batch: Sampled documents whose queries are guessed.
        answers: Ids of the class of the answers.
        may_pair: What the split may ask in some of the documents; without it there is no
            ``split``.

    Returns:
        Accuracies, 0 to 1, by heuristic (`KINDS`); ``elimination`` and ``split_elimination`` only
        if there are several queries.
    """
    found = [
        _chances(part, answers, None if may_pair is None else may_pair(part))
        for part in _parts(batch, len(answers))
    ]
    chances = {name: jnp.concatenate([one[name] for one in found]) for name in found[0]}
    return {
        "uniform": 1 / len(answers),
        "majority": majority(train, batch),
        **{name: _mean(values, batch) for name, values in chances.items()},
    }


def majority(train: Batch, batch: Batch) -> float:
    """Accuracy of the commonest answer of train documents, of several the lowest token.

    Counted in the documents that are judged it would be too high: of many answers that are equally
    frequent one is the commonest there by chance.

    Args:
        train: Sampled train documents.
        batch: Sampled documents whose queries are guessed.
    """
    counts = np.bincount(np.ravel(train.targets), np.ravel(train.weights))
    return _mean(batch.targets == int(counts.argmax()), batch)


def _parts(batch: Batch, width: int = 1) -> list[Batch]:
    """Documents in parts of which no array has more than `PART` entries.

    Args:
        batch: Documents.
        width: Number of entries that a document has at least.
    """
    documents, length = batch.tokens.shape
    entries = max(batch.targets.shape[1] * length, width)
    # All but the last are of one size, a power of two, and share a program.
    size = 2 ** (max(PART // entries, 1).bit_length() - 1)
    return [
        jax.tree.map(lambda rows, at=at: rows[at : at + size], batch)
        for at in range(0, documents, size)
    ]


def _mean(values: Array, batch: Batch) -> float:
    """Mean over the queries that count."""
    return float((values * batch.weights).sum() / batch.weights.sum())


@functools.partial(jax.jit, static_argnums=1)
def _chances(batch: Batch, answers: range, may_pair: Array | None) -> dict[str, Array]:
    """Probability [document, query] of the right answer, by heuristic."""
    stop = batch.roles.get("divider", batch.query_positions)
    # An absent query has no divider; reading one token is harmless, as its weight is 0.
    stop = jnp.maximum(stop, 1)
    index = jnp.arange(batch.tokens.shape[1])[None]
    is_answer = (batch.tokens >= answers.start) & (batch.tokens < answers.stop)
    last = jax.lax.cummax(jnp.where(is_answer, index, 0), axis=1)
    # [document, query, position]: what can be guessed, and what is right.
    seen = is_answer[:, None] & (index[:, None] < stop[..., None])
    right = seen & (batch.tokens[:, None] == batch.targets[..., None])

    def at(values: Array, positions: Array) -> Array:
        return jnp.take_along_axis(values, positions, axis=1)

    def uniform(candidates: Array) -> Array:
        """Probability with any of the candidates."""
        number = jnp.maximum(candidates.sum(axis=-1), 1)
        return (candidates & right).sum(axis=-1) / number

    # How often each token of the class stands before the first query.
    member = jnp.where(seen[:, 0], batch.tokens - answers.start, len(answers))
    documents = jnp.arange(len(member))[:, None]
    times = jnp.zeros((len(member), len(answers) + 1)).at[documents, member].add(1)[:, :-1]
    most = times == times.max(axis=1, keepdims=True)
    is_most = at(most, jnp.clip(batch.targets - answers.start, 0, len(answers) - 1))
    first = jnp.argmax(is_answer, axis=1)[:, None]
    found = {
        "in_document": uniform(seen),
        "frequent": is_most / most.sum(axis=1, keepdims=True),
        "first": at(batch.tokens, first) == batch.targets,
        "last": at(batch.tokens, at(last, stop - 1)) == batch.targets,
    }
    if may_pair is not None:
        found["split"] = uniform(seen & may_pair)
    if batch.targets.shape[1] > 1 and "answer" in batch.roles:
        # Answers that stand before a query have been read there; one query at a time.
        def left(query: Array) -> Array:
            earlier = batch.query_positions < batch.query_positions[:, query, None]
            earlier &= batch.roles["answer"] >= 0
            given = batch.targets[:, :, None] == batch.tokens[:, None]
            return seen[:, query] & ~(given & earlier[..., None]).any(axis=1)

        queries = jnp.arange(batch.targets.shape[1])
        candidates = jnp.swapaxes(jax.lax.map(left, queries), 0, 1)
        found["elimination"] = uniform(candidates)
        if may_pair is not None:
            found["split_elimination"] = uniform(candidates & may_pair)
    return found


def copy_next(batch: Batch) -> float:
    """Accuracy of the token after the last occurrence, before the divider, of the last one read."""
    return _mean(jnp.concatenate([_is_next(part) for part in _parts(batch)]), batch)


def _is_next(batch: Batch) -> Bool[Array, "batch queries"]:
    """Whether that token is the answer."""
    length = batch.tokens.shape[1]
    stop = batch.roles.get("divider", batch.query_positions)[..., None]
    last = jnp.take_along_axis(batch.tokens, batch.query_positions, axis=1)[..., None]
    index = jnp.arange(length)[None, None]
    place = jnp.where((batch.tokens[:, None] == last) & (index < stop), index, -1).max(axis=-1)
    beside = jnp.take_along_axis(batch.tokens, jnp.minimum(place + 1, length - 1), axis=1)
    return (place >= 0) & (beside == batch.targets)
