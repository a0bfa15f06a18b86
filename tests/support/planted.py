"""Models whose mechanism is known, and how they are measured; `mecheval_jax.ground_truth.planted`.

Here are also a mixture of two of its mechanisms, and models with random weights.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from mecheval_jax.array_types import PyTree
from mecheval_jax.evaluation.config import EvaluationConfig
from mecheval_jax.evaluation.subject import Subject
from mecheval_jax.evaluation.verdict.controls import draw_distractors
from mecheval_jax.evaluation.verdict.evidence import Evidence
from mecheval_jax.evaluation.verdict.exchanges import Exchanges
from mecheval_jax.evaluation.verdict.verdict import Verdict, judge
from mecheval_jax.ground_truth.planted import (
    TASK,
    Planted,
    Wide,
    as_arrays,
    convolution,
    direct_retrieval,
    induction,
)
from mecheval_jax.models.language_model import (
    LanguageModel,
    ModelConfig,
    initialize,
    parameter_shapes,
)
from mecheval_jax.tasks.base import Batch
from mecheval_jax.tasks.synthetic.associative_recall import AssociativeRecall

__all__ = ["TASK", "Planted", "convolution", "direct_retrieval", "induction"]


def delayed_retrieval(seed: int = 0, task: AssociativeRecall = TASK) -> Planted:
    """`direct_retrieval` in layer 1 of two."""
    return direct_retrieval(seed, layers=2, layer=1, task=task)


def mixture(seed: int = 0, task: AssociativeRecall = TASK) -> Planted:
    """A Transformer that induces the first two pairs and retrieves the others directly."""
    model = Wide(seed, 2, task)
    half = task.pairs // 2
    model.compare(0, range(half, task.pairs))
    model.bind(0, range(half))
    model.look_up(1)
    return model.planted()


def untrained(mixer: str, seed: int = 0, **options) -> Planted:
    """A new model of any architecture, 2 layers and 16 channels unless said otherwise."""
    config = shape_of(mixer, **options)
    return config, jax.jit(initialize, static_argnums=0)(config, jax.random.key(seed)), TASK


def lively(mixer: str, seed: int = 0, task: AssociativeRecall | None = None, **options) -> Planted:
    """A model of any architecture with large random weights: no activation is negligible."""
    config = shape_of(mixer, **options)
    return config, lively_parameters(config, seed), task or TASK


def lively_parameters(config: ModelConfig, seed: int = 0) -> PyTree:
    """Large random weights, drawn in NumPy: there is no program to compile."""
    draw = np.random.default_rng(seed)

    def fill(path, leaf):
        centre = float(path[-1].key in ("scale", "frequency"))
        return centre + 0.3 * draw.normal(size=leaf.shape)

    return as_arrays(jax.tree_util.tree_map_with_path(fill, parameter_shapes(config)))


def shape_of(mixer: str, **options) -> ModelConfig:
    """A small model for `TASK`; `options` are fields that differ."""
    fields = {
        "layers": 2,
        "width": 16,
        "vocabulary_size": TASK.vocabulary_size,
        "max_length": TASK.max_length,
        "positions": "learned" if mixer == "attention" else "none",
    }
    return ModelConfig(mixer=mixer, **(fields | options))


def documents(task: AssociativeRecall, count: int, seed: int = 0) -> Batch:
    """Documents of a task."""
    return task.sample(jax.random.key(seed), count, "test")


def task_with(**changes) -> AssociativeRecall:
    """`TASK` with other fields."""
    return dataclasses.replace(TASK, **changes)


EVALUATION = EvaluationConfig(documents=64, corruptions=("key",), resamples=300)
"""Of the verdicts on planted models."""


@functools.cache
def floor(task: AssociativeRecall = TASK) -> float:
    """Accuracy of the best heuristic on a task."""
    return task.floors(jax.random.key(0))["best"]


@functools.partial(jax.jit, static_argnums=0)
def exchanged(exchanges: Exchanges, params: PyTree, batch: Batch, donors: jax.Array) -> PyTree:
    """What a verdict measures, compiled once for all models of one shape."""
    return exchanges.on_device(params, batch, donors)


def evidence_of(model: Planted, batch: Batch) -> Evidence:
    """What a verdict reads of a model; an answer is right where it has more than half."""
    config, params, task = model
    subject = subject_of(model, batch)
    donors = draw_distractors(batch, EVALUATION.seed).donors
    exchanges = Exchanges(config, task, EVALUATION.seed, EVALUATION.chunk)
    raw = jax.device_get(exchanged(exchanges, params, batch, jnp.asarray(donors)))
    correct = raw["runs"]["probability"][0] > 0.5
    return Evidence.of_raw(raw, subject, (int(correct.sum()), len(correct)), floor(task))


def verdict_of(model: Planted, documents_seed: int = 0) -> Verdict:
    """The verdict on a planted model."""
    batch = documents(model[2], EVALUATION.documents, documents_seed)
    return judge(evidence_of(model, batch), EVALUATION)


def subject_of(
    model: Planted, batch: Batch, evaluation: EvaluationConfig = EVALUATION, **fields
) -> Subject:
    """A planted model on some documents."""
    config, params, task = model
    return Subject(LanguageModel(config), params, task, batch, evaluation, **fields)


VARIED = task_with(min_pairs=2)
"""The task with documents of different lengths."""


def lively_subject(mixer: str, evaluation: EvaluationConfig, **options) -> Subject:
    """A model with large random weights on documents of `VARIED`; arguments as of `lively`."""
    config, params, _ = lively(mixer, **options)
    batch = documents(VARIED, evaluation.documents, 1)
    return subject_of((config, params, VARIED), batch, evaluation)
