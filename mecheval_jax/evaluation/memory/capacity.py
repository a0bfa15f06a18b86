"""Capacity: recall against the number of pairs at a fixed state, and the threshold of recall.

The threshold is the number of pairs at which half of the recall above a guess (1/n) is left
(`statistics.thresholds`). It is compared with theory for an additive memory S = sum k v^T with N
numbers, random keys and V values:

    N = 2 n log n                                 n pairs that are told apart, one from another
    p = Phi(1/s - sqrt(2 log V)), s^2 = n / N     recall of one of V values (2609.07681), where s is
                                                  the interference of the other pairs

N counts all numbers of the state, in every layer and in short convolutions, since the model could
use them all; what theory predicts is therefore rather too high. For attention the state grows with
the document, and there is no prediction; nor of a mixer without a recurrent form, whose state is
not known.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.special import lambertw, ndtr

from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.accuracy import counts_of, describe_accuracy
from mecheval_jax.evaluation.config import CapacityConfig
from mecheval_jax.evaluation.memory.sizes import (
    answers_to,
    documents_of_sizes,
    of_size,
    resized,
    size_of,
    tasks_of_sizes,
)
from mecheval_jax.evaluation.subject import Subject
from mecheval_jax.models.decoding import known_state_bytes
from mecheval_jax.statistics.bootstrap import Bootstrap
from mecheval_jax.statistics.thresholds import curve, fit_threshold
from mecheval_jax.tasks.base import Batch, Task, divider_or

NUMBER = 4
"""Bytes of a number of a state."""

PLACES = 4
"""Number of parts of the block of pairs by which recall is shown."""


def additive_capacity(numbers: float) -> float:
    """Number of pairs n with 2 n log n = `numbers`, which an additive memory can tell apart."""
    return float(np.exp(lambertw(numbers / 2).real))


def hashing_recall(numbers: float, pairs: float, values: int) -> float:
    """Share of pairs that an additive memory recalls, given its size and the number of values."""
    return float(ndtr(math.sqrt(numbers / pairs) - math.sqrt(2 * math.log(values))))


def capacity_rows(subject: Subject, options: CapacityConfig) -> Iterator[dict[str, Any]]:
    """Recall at each number of pairs, its fit and threshold, and the predictions of theory.

    Columns: ``metric`` (``recall``, ``fit``, ``hashing``, ``recall_by_place``, ``threshold``,
    ``additive_threshold``), ``pairs``, ``place`` (of ``recall_by_place``, where among the pairs the
    asked one stands, from 0 to 1), ``state_bytes`` after a document of this size, ``value``,
    ``low``, ``high``.

    Raises:
        UserError: If documents have no number of pairs, or a requested number is not possible.
    """
    tasks = tasks_of_capacity(subject, options)
    sizes = tuple(tasks)
    batches = documents_of_sizes(subject, list(tasks.values()))
    evaluation, rows, counts = subject.evaluation, [], []
    bootstraps = [
        Bootstrap([len(batch.weights)], evaluation.resamples, evaluation.seed + index)
        for index, batch in enumerate(batches)
    ]
    held = [known_state_bytes(subject.config, task.max_length) for task in tasks.values()]

    def row(metric: str, index: int, value: float | None, **cells: Any) -> dict[str, Any]:
        place = {"metric": metric, "pairs": sizes[index], "place": None, "state_bytes": held[index]}
        return place | {"value": value, "low": None, "high": None} | cells

    # Recall at every number of pairs, with replicates of the documents.
    answers = [answers_to(subject, batch) for batch in batches]
    by_size = zip(batches, answers, bootstraps, strict=True)
    for index, (batch, given, bootstrap) in enumerate(by_size):
        right, asked = counts_of(given, batch)
        recall = describe_accuracy(
            given.correct, np.asarray(batch.weights), evaluation.confidence, bootstrap
        )
        rows.append(row("recall", index, **recall))
        whole = np.stack([right, asked], axis=1)
        replicates = bootstrap.weights @ whole * len(right)
        counts.append(np.concatenate([whole.sum(axis=0)[None], replicates]))
    passes = getattr(subject.task, "num_passes", 1)
    rows += [
        row("recall_by_place", len(sizes) - 1, **cells)
        for cells in _by_place(
            batches[-1], answers[-1].correct, passes, evaluation.confidence, bootstraps[-1]
        )
    ]

    # The fit, and the recall of an additive memory of the same size.
    right, asked = np.moveaxis(np.stack(counts), 2, 0)
    guess = 1 / np.asarray(sizes, np.float64)
    found = fit_threshold(np.asarray(sizes, float), guess, right, asked, evaluation.confidence)
    last = len(sizes) - 1
    yield from rows
    if found.value is not None:
        fitted = curve(np.asarray(sizes, float), guess, found.value, found.slope)
        yield from (row("fit", index, float(p)) for index, p in enumerate(fitted))
    ends = {"low": found.low, "high": found.high, "beyond": found.beyond}
    yield row("threshold", last, found.value, **ends)
    size = held[-1]
    # A single number of pairs does not show whether the state grows; one token does.
    if size is not None and known_state_bytes(subject.config, 1) == size:
        numbers, values = size / NUMBER, round(1 / subject.task.chance)
        for index, n in enumerate(sizes):
            yield row("hashing", index, hashing_recall(numbers, n, values))
        yield row("additive_threshold", last, additive_capacity(numbers))


def tasks_of_capacity(subject: Subject, options: CapacityConfig) -> dict[int, Task]:
    """The subject's task with each number of pairs.

    Args:
        subject: Model and its task.
        options: Numbers of pairs; powers of two up to the subject's own if it names none.

    Raises:
        UserError: If documents have no number of pairs, or a number that was asked for is not
            possible.
    """
    task, model = subject.task, subject.config
    if getattr(task, "pairs", None) is None:
        raise UserError(
            f"{type(task).__name__} has no number of pairs (task.pairs), by which capacity "
            "is measured; recall of other sizes: --analyses=generalization"
        )
    if options.pairs:
        return {size: resized(task, of_size(task, size), model) for size in options.pairs}
    _, largest = size_of(task)
    if largest < 2:
        raise UserError(
            f"task.pairs is {largest}: capacity needs documents of 2 pairs or more, since of one "
            "pair a guess is right"
        )
    found, why = tasks_of_sizes(task, _powers(largest), model)
    if why is not None and largest not in found:
        raise why
    return found


def _powers(largest: int) -> tuple[int, ...]:
    """Powers of two up to a number, and the number itself."""
    powers = [2**i for i in range(largest.bit_length()) if 2**i < largest]
    return (*powers, largest)


def _by_place(
    batch: Batch, correct: np.ndarray, passes: int, confidence: float, bootstrap: Bootstrap
) -> Iterator[dict[str, Any]]:
    """Recall by the place of the asked key, as a share of the tokens that hold pairs.

    Args:
        batch: Documents.
        correct: [document, query] Whether each query is answered rightly.
        passes: Number of times that documents list their pairs; keys stand in the last of them.
        confidence: Confidence of the intervals.
        bootstrap: Bootstrap over the documents, whose answers in a part are not independent.
    """
    if "key" not in batch.roles:
        return
    key = np.asarray(batch.roles["key"])
    counts = (np.asarray(batch.weights) > 0) & (key >= 0)
    # The pairs end at the divider or, where there is none, behind the last pair that is asked.
    ends = np.where(counts, np.maximum(key, batch.roles.get("value", key)) + 1, 0).max(axis=1)
    end = divider_or(batch, ends[:, None])
    size = end / passes
    place = (key - (end - size)) / np.maximum(size, 1) * PLACES
    place = np.clip(place, 0, PLACES - 1).astype(int)
    for part in range(PLACES):
        inside = counts & (place == part)
        if inside.any():
            middle = (part + 0.5) / PLACES
            yield {"place": middle} | describe_accuracy(correct, inside, confidence, bootstrap)
