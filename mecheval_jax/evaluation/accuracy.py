"""What a model answers: accuracy, likelihood, and the floors beside them."""

from typing import Any

import jax
import numpy as np

from mecheval_jax.evaluation.subject import Subject
from mecheval_jax.statistics.bootstrap import Bootstrap, accuracy_interval
from mecheval_jax.tasks.base import Batch
from mecheval_jax.tasks.scoring import AnswerScores
from mecheval_jax.training.data import stream
from mecheval_jax.training.step import answer

answers_of = jax.jit(answer, static_argnums=(0, 2))
"""`training.step.answer`, compiled once for runs of one shape, and steps of one run."""


def answer_all(subject: Subject) -> AnswerScores:
    """A model's answers to every query of its documents, on the host."""
    found = answers_of(subject.config, subject.params, subject.task, subject.batch)
    return jax.device_get(found)


def counts_of(answers: AnswerScores, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
    """Right answers, and answers that count, to each document: [document] both."""
    weights = np.asarray(batch.weights, np.float64)
    return (answers.correct * weights).sum(axis=1), weights.sum(axis=1)


def summarize(answers: AnswerScores, subject: Subject) -> dict[str, Any]:
    """Accuracy and likelihood of a model's answers.

    Returns:
        ``accuracy`` (0-1) with its interval ``accuracy_low``, ``accuracy_high`` (Wilson's; over
        resampled documents, where they have several queries: see `accuracy_interval`),
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
    key = jax.random.fold_in(stream(jax.random.key(subject.data_seed), evaluation.split), 1)
    documents = max(4096, evaluation.documents)
    return {
        "accuracy": correct / asked,
        "accuracy_low": low,
        "accuracy_high": high,
        "likelihood": likelihood / asked,
        "loss": loss / asked,
        "asked": round(asked),
        "split": evaluation.split,
        "documents": evaluation.documents,
        "floors": subject.task.floors(key, documents, evaluation.split),
    }
