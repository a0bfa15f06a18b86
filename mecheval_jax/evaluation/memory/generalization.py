"""Generalisation: accuracy on documents of other lengths and numbers of pairs than in training."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.accuracy import describe_accuracy, floors_of
from mecheval_jax.evaluation.config import GeneralizationConfig
from mecheval_jax.evaluation.memory.sizes import (
    answers_to,
    changes_of,
    documents_of_sizes,
    resized,
    size_of,
    tasks_of_sizes,
)
from mecheval_jax.evaluation.subject import Subject
from mecheval_jax.statistics.bootstrap import Bootstrap
from mecheval_jax.tasks.base import Task

FACTORS = (0.5, 2, 4)
"""Default sizes, as multiples of the trained one."""

TRAINED = "as trained"
"""Name of the setting without changes."""


def generalization_rows(
    subject: Subject, options: GeneralizationConfig
) -> Iterator[dict[str, Any]]:
    """Accuracy and the best floor at every setting; gives the long table.

    Args:
        subject: Model and the task on which it was trained.
        options: Settings to measure; by default half, twice and four times the size, if the
            vocabulary and the model's length limit allow them.

    Raises:
        UserError: If a setting is not possible, or no other size is.
    """
    tasks = {TRAINED: subject.task} | settings_of(subject, options)
    batches = documents_of_sizes(subject, list(tasks.values()))
    evaluation = subject.evaluation
    bootstrap = Bootstrap([evaluation.documents], evaluation.resamples, evaluation.seed)
    for (setting, task), batch in zip(tasks.items(), batches, strict=True):
        answers, weights = answers_to(subject, batch), np.asarray(batch.weights)
        place = {
            "setting": setting,
            "length": int(np.asarray(batch.lengths).max()),
            "documents": evaluation.documents,
            "queries": round(float(weights.sum())),
        }
        accuracy = describe_accuracy(answers.correct, weights, evaluation.confidence, bootstrap)
        floors = floors_of(task, subject.data_seed, evaluation.split, evaluation.documents)
        yield place | {"metric": "accuracy"} | accuracy
        yield place | {"metric": "floor", "value": floors["best"], "low": None, "high": None}


def settings_of(subject: Subject, options: GeneralizationConfig) -> dict[str, Task]:
    """The task of every requested setting or, by default, of every possible one.

    Raises:
        UserError: If a setting is not possible, or no other size is.
    """
    task, model = subject.task, subject.config
    if options.settings is not None:
        return {each: resized(task, changes_of(each, task), model) for each in options.settings}
    name, size = size_of(task)
    sizes = (round(size * factor) for factor in FACTORS)
    found, why = tasks_of_sizes(task, sizes, model)
    if not found:
        raise UserError(f"no other size than {name}={size} can be: {why}")
    return {f"{name}={other}": each for other, each in found.items()}
