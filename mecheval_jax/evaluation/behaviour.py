"""What a model answers: accuracy, likelihood, and the floors beside them."""

from typing import Any

import jax
import jax.numpy as jnp

from mecheval_jax.array_types import PyTree
from mecheval_jax.evaluation.statistics import wilson
from mecheval_jax.experiment import Experiment
from mecheval_jax.tasks.base import Batch
from mecheval_jax.training.data import evaluation_batch, stream
from mecheval_jax.training.step import answer


def documents_of(experiment: Experiment) -> Batch:
    """The evaluation documents of an experiment."""
    evaluation = experiment.evaluation
    sample = jax.jit(
        lambda: evaluation_batch(
            experiment.task, experiment.training.data_seed, evaluation.documents, evaluation.split
        )
    )
    return sample()


def evaluate(params: PyTree, experiment: Experiment, batch: Batch | None = None) -> dict[str, Any]:
    """Scores on the evaluation documents (`batch`, where they are at hand already).

    Returns:
        ``accuracy`` (0-1) with its Wilson interval ``accuracy_low``, ``accuracy_high``,
        ``likelihood`` (mean probability of the answer), ``loss`` in nats, ``asked`` (answers that
        count), ``split``, ``documents``, and ``floors``, the accuracies of heuristics without
        recall.
    """
    evaluation, task = experiment.evaluation, experiment.task
    batch = documents_of(experiment) if batch is None else batch

    @jax.jit
    def scores(params, batch):
        loss, correct = answer(experiment.model, params, task, batch)
        weights = batch.weights
        sums = [(x * weights).sum() for x in (correct, jnp.exp(-loss), loss)]
        return (*sums, weights.sum())

    correct, likelihood, loss, asked = (float(x) for x in scores(params, batch))
    low, high = wilson(correct, round(asked), evaluation.confidence)
    floor_key = jax.random.fold_in(
        stream(jax.random.key(experiment.training.data_seed), evaluation.split), 1
    )
    return {
        "accuracy": correct / asked,
        "accuracy_low": low,
        "accuracy_high": high,
        "likelihood": likelihood / asked,
        "loss": loss / asked,
        "asked": round(asked),
        "split": evaluation.split,
        "documents": evaluation.documents,
        "floors": task.floors(floor_key, max(4096, evaluation.documents), evaluation.split),
    }
