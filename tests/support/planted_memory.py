"""Models with a memory: a delta rule set by hand, and any architecture with large weights."""

import dataclasses
from typing import Any

from mecheval_jax.evaluation.config import EvaluationConfig
from mecheval_jax.evaluation.subject import Subject
from mecheval_jax.ground_truth import planted as planting
from mecheval_jax.models.language_model import LanguageModel
from mecheval_jax.tasks.synthetic.associative_recall import AssociativeRecall
from mecheval_jax.tasks.synthetic.forgetting_recall import ForgettingRecall
from tests.support import planted

EVALUATION = EvaluationConfig(documents=32, corruptions=("key",), resamples=200)
RECALL = AssociativeRecall(pairs=4, key_vocabulary=8, value_vocabulary=8)
FORGETTING = ForgettingRecall(pairs=3, rebound=2, queries=2, key_vocabulary=8, value_vocabulary=8)


def delta_rule(task: Any, beta: float, room: int = 8) -> Subject:
    """`planted.delta_rule` on documents of a task.

    Args:
        task: any of keys and values.
        beta: share of a write, above 0 and below 1.
        room: tokens that documents may have beyond the task's.
    """
    config, params, task = planting.delta_rule(beta=beta, task=task)
    config = dataclasses.replace(config, max_length=task.max_length + room)
    batch = planted.documents(task, EVALUATION.documents)
    return Subject(LanguageModel(config), params, task, batch, EVALUATION)


def lively(mixer: str, task: Any = RECALL, room: int = 16, **options: Any) -> Subject:
    """A model of any architecture with large random weights on documents of a task."""
    shape = {"vocabulary_size": task.vocabulary_size, "max_length": task.max_length + room}
    config, params, _ = planted.lively(
        mixer, **({"layers": 1, "feed_forward": "none"} | shape | options)
    )
    batch = planted.documents(task, EVALUATION.documents)
    return Subject(LanguageModel(config), params, task, batch, EVALUATION)


def with_evaluation(subject: Subject, **changes: Any) -> Subject:
    """The subject with other fields of its evaluation."""
    evaluation = dataclasses.replace(subject.evaluation, **changes)
    return dataclasses.replace(subject, evaluation=evaluation)
