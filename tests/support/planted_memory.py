"""A delta rule set by hand, whose share beta says whether a key's old value is erased.

One layer of DeltaNet. A convolution of two taps gives a value token the key before it, so that the
pair is written at the value. With beta = 1 a second write of a key takes the first one's place;
with a small beta the state adds up writes of nearly the same size, and the later one is a little
larger.
"""

import dataclasses
from typing import Any

import numpy as np

from mecheval_jax.evaluation.config import EvaluationConfig
from mecheval_jax.evaluation.subject import Subject
from mecheval_jax.ground_truth import planted as planting
from mecheval_jax.models.language_model import LanguageModel, ModelConfig
from mecheval_jax.tasks.synthetic.associative_recall import AssociativeRecall
from mecheval_jax.tasks.synthetic.forgetting_recall import ForgettingRecall
from tests.support import planted

WIDTH, LARGE, LOUD = 32, 20.0, 30.0
"""Channels; what an identity reads, where silu returns its argument; length of the answer."""

EVALUATION = EvaluationConfig(documents=32, corruptions=("key",), resamples=200)
RECALL = AssociativeRecall(pairs=4, key_vocabulary=8, value_vocabulary=8)
FORGETTING = ForgettingRecall(pairs=3, rebound=2, queries=2, key_vocabulary=8, value_vocabulary=8)


def delta_rule(task: Any, beta: float, room: int = 8) -> Subject:
    """The model on documents of a task.

    Args:
        task: any of keys and values.
        beta: share of a write, above 0 and below 1.
        room: tokens that documents may have beyond the task's.
    """
    config = ModelConfig(
        mixer="delta_net",
        layers=1,
        width=WIDTH,
        vocabulary_size=task.vocabulary_size,
        max_length=task.max_length + room,
        feed_forward="none",
        mixer_options={"kernel": 2},
    )
    (identity,) = planting.directions(0, WIDTH, task.vocabulary_size)
    keys, values = (identity[ids.start : ids.stop] for ids in (task.classes[n] for n in "kv"))
    unit = np.sqrt(WIDTH)
    params = planting.blank(config, identity)
    mixer = params["block_0"]["mixer"]
    for name, read, tap in (("q", keys, -1), ("k", keys, -2), ("v", values, -1)):
        kernel = mixer[f"{name}_proj"]["kernel"]
        kernel[:, : len(read)] = LARGE * read.T / unit
        mixer[f"{name}_conv"]["weight"][tap] = 1
    share = np.log(beta / (1 - beta)) / unit
    mixer["b_proj"]["kernel"][:, 0] = share * values.sum(axis=0) - LARGE * keys.sum(axis=0)
    mixer["o_proj"]["kernel"][: len(values)] = LOUD * values / unit
    batch = planted.documents(task, EVALUATION.documents)
    return Subject(LanguageModel(config), planting.as_arrays(params), task, batch, EVALUATION)


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
