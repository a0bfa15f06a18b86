"""Accuracy and likelihood of a model's answers beside the floors, and accuracy by slice.

A task gives numbers for each of its queries (`tasks.base.Task.properties`): the document's length,
its number of pairs, the distance to the key, ... Every number is a slice of its own. If a property
has more than `MOST_VALUES` different numbers, slices are bins from a power of two up to the next,
with 0 apart: 0, 1, 2-3, 4-7, ...
"""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

from mecheval_jax.array_types import Array, Float, Int, Shaped
from mecheval_jax.evaluation.subject import Subject
from mecheval_jax.statistics.bootstrap import Bootstrap, accuracy_interval
from mecheval_jax.tasks.base import ABSENT, Batch, Task
from mecheval_jax.tasks.scoring import AnswerScores
from mecheval_jax.training.data import stream
from mecheval_jax.training.step import answer

answers_of = jax.jit(answer, static_argnums=(0, 2))
"""`training.step.answer`, compiled once for all runs of one shape and all steps of a run."""


def answer_all(subject: Subject) -> AnswerScores:
    """A model's answers to every query of its documents, on the host."""
    found = answers_of(subject.config, subject.params, subject.task, subject.batch)
    return jax.device_get(found)


def counts_of(answers: AnswerScores, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of right answers and of answers that count, [document] both."""
    return _counts(answers.correct, np.asarray(batch.weights))


def _counts(correct: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    weights = weights.astype(np.float64)
    return (correct * weights).sum(axis=1), weights.sum(axis=1)


def names_of(batch: Batch) -> Int[np.ndarray, " document"]:
    """A number for the text of each document, the same in every process."""
    rows = zip(np.asarray(batch.tokens), np.asarray(batch.lengths), strict=True)
    digests = [hashlib.blake2b(row[:n].tobytes(), digest_size=8).digest() for row, n in rows]
    return np.array([int.from_bytes(digest, "little", signed=True) for digest in digests])


def summarize(answers: AnswerScores, subject: Subject) -> dict[str, Any]:
    """Accuracy and likelihood of a model's answers.

    Returns:
        ``accuracy`` (0-1) with its interval ``accuracy_low``, ``accuracy_high`` (Wilson's; over
        resampled documents if these have several queries: see `accuracy_interval`),
        ``likelihood`` (mean probability of the answer), ``loss`` in nats, ``asked`` (answers that
        count), ``split``, ``documents``, and ``floors``, the accuracies of heuristics without
        recall.
    """
    evaluation, batch = subject.evaluation, subject.batch
    weights = np.asarray(batch.weights)
    asked = float(weights.sum())
    correct, likelihood, loss = (
        float((values * weights).sum())
        for values in (answers.correct, answers.probability, answers.loss)
    )
    bootstrap = Bootstrap([len(weights)], evaluation.resamples, evaluation.seed)
    (low, high), _ = accuracy_interval(*counts_of(answers, batch), evaluation.confidence, bootstrap)
    return {
        "accuracy": correct / asked,
        "accuracy_low": low,
        "accuracy_high": high,
        "likelihood": likelihood / asked,
        "loss": loss / asked,
        "asked": round(asked),
        "split": evaluation.split,
        "documents": evaluation.documents,
        "floors": floors_of(subject.task, subject.data_seed, evaluation.split, len(weights)),
    }


def floors_of(
    task: Task, data_seed: int, split: str, documents: int = 0, *, first: bool = False
) -> dict[str, float]:
    """Accuracies of heuristics without recall, on documents that are drawn by themselves.

    Args:
        task: Task of the documents.
        data_seed: Seed of a run's documents.
        split: Split of the documents.
        documents: Number of documents that are evaluated; at least 4,096 are drawn, or all of a
            split that has no more.
        first: Whether query 0 of each document alone is guessed.
    """
    key = jax.random.fold_in(stream(jax.random.key(data_seed), split), 1)
    return task.floors(key, max(4096, documents), split, first=first)


def describe_accuracy(
    correct: Float[np.ndarray, "batch queries"],
    weights: Shaped[np.ndarray, "batch queries"],
    confidence: float,
    bootstrap: Bootstrap,
) -> dict[str, float]:
    """Share of right answers among those that count, with its interval, as cells of a row.

    Args:
        correct: 1 for a right answer, 0 for a wrong one.
        weights: 0 or False for a query that does not count; some document has one that does.
        confidence: Confidence of the interval.
        bootstrap: Bootstrap over the same documents.
    """
    right, asked = _counts(correct, weights)
    low, high = accuracy_interval(right, asked, confidence, bootstrap)[0]
    return {"value": float(right.sum() / asked.sum()), "low": low, "high": high}


MOST_VALUES = 8
"""Number of different values of a property up to which each is a slice of its own."""

COLUMNS = ("property", "low_value", "high_value", "accuracy", "low", "high", "queries")
"""Columns of ``slices.csv``; `low` and `high` are those of `describe_accuracy`."""


def slice_accuracy(
    properties: Mapping[str, Int[Array | np.ndarray, "batch queries"]],
    correct: Float[Array | np.ndarray, "batch queries"],
    weights: Float[Array | np.ndarray, "batch queries"],
    confidence: float,
    bootstrap: Bootstrap,
) -> list[dict[str, Any]]:
    """Rows of `COLUMNS`, one for every slice of every property.

    Args:
        properties: Numbers of the queries; `ABSENT` if a query has none.
        correct: 1 for a right answer, 0 for a wrong one.
        weights: 0 for a query that does not count.
        confidence: Confidence of the intervals.
        bootstrap: Bootstrap over the same documents.
    """
    counts, right = np.asarray(weights) > 0, np.asarray(correct)
    rows = []
    for name, numbers in properties.items():
        values = np.asarray(numbers)
        known = counts & (values != ABSENT)
        for low_value, high_value in _bins(np.unique(values[known])):
            inside = known & (values >= low_value) & (values <= high_value)
            share = describe_accuracy(right, inside, confidence, bootstrap)
            row = (name, low_value, high_value, *share.values(), int(inside.sum()))
            rows.append(dict(zip(COLUMNS, row, strict=True)))
    return rows


def _bins(values: np.ndarray) -> Iterator[tuple[int, int]]:
    """Ranges of the slices that hold at least one of the sorted distinct values."""
    if len(values) <= MOST_VALUES:
        yield from ((int(value), int(value)) for value in values)
        return
    for power in sorted({int(value).bit_length() for value in values}):
        yield 2**power // 2, 2**power - 1
