"""The subject of a measurement, and the protocol of measurements of all members at once."""

import dataclasses
import functools
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, PyTree, UInt32
from mecheval_jax.evaluation.config import EvaluationConfig
from mecheval_jax.experiment import Experiment
from mecheval_jax.models.language_model import LanguageModel, ModelConfig, initialize
from mecheval_jax.tasks.base import Batch, Task
from mecheval_jax.training.data import evaluation_batch


@dataclasses.dataclass(frozen=True, eq=False)
class Subject:
    """A model with the documents on which it is measured: the one argument of a measurement.

    Attributes:
        model: Model that is measured.
        params: Parameters of the model; None if a program of many members gets them instead.
        task: Task of the documents, which can corrupt them.
        batch: Evaluation documents; interventions ask query 0 of each.
        evaluation: Options of the evaluation: roles, corruptions, directions, seed and intervals.
        seed: Seed of the run's initialisation, which gives the model before its training.
        data_seed: Seed of the documents, from which more are drawn.
    """

    model: LanguageModel
    params: PyTree
    task: Task
    batch: Batch
    evaluation: EvaluationConfig
    seed: int = 0
    data_seed: int = 0

    @classmethod
    def of(cls, experiment: Experiment, params: PyTree, batch: Batch | None = None) -> "Subject":
        """The subject of an experiment, on its own documents if `batch` is None."""
        return cls(
            LanguageModel(experiment.model),
            params,
            experiment.task,
            documents_of(experiment) if batch is None else batch,
            experiment.evaluation,
            experiment.training.seed,
            experiment.training.data_seed,
        )

    @property
    def config(self) -> ModelConfig:
        """Config of the model."""
        return self.model.config

    def untrained(self, seed: int) -> PyTree:
        """Parameters of a new model of the same config."""
        return new_parameters(self.config, jnp.asarray(seed, jnp.uint32))

    def more_documents(self, count: int) -> Batch:
        """At least `count` documents of the same split, or as many as exist.

        No document occurs twice: one that is used for a fit must not be held out as well.
        """
        found = self.available(count)
        return evaluation_batch(self.task, self.data_seed, found, self.evaluation.split)

    def available(self, count: int) -> int:
        """Number of documents that `more_documents` gives."""
        count = max(count, self.evaluation.documents)
        return min(count, self.task.sizes().get(self.evaluation.split, count))


@functools.partial(jax.jit, static_argnums=0)
def new_parameters(model: ModelConfig, seed: UInt32[Array, ""]) -> PyTree:
    """Parameters of a new model, as a run with this seed has them before its first step."""
    return initialize(model, jax.random.key(seed))


def documents_of(experiment: Experiment) -> Batch:
    """The evaluation documents of an experiment."""
    evaluation = experiment.evaluation
    return evaluation_batch(
        experiment.task, experiment.training.data_seed, evaluation.documents, evaluation.split
    )


@runtime_checkable
class Measurement(Protocol):
    """The static part of a measurement, one program for all members of an ensemble.

    ``plan_...(subject)`` gives it together with the arrays that it needs. Members share the static
    part; their arrays are stacked and the program is mapped over them. A single run is an ensemble
    of one.
    """

    def on_device(self, params: PyTree, arrays: PyTree) -> PyTree:
        """All computation on the device, for `on_host`. Traceable."""

    def on_host(self, raw: PyTree, subject: Subject) -> Any:
        """The result, from what `on_device` returned, as arrays on the host."""


def measure(subject: Subject, plan: tuple[Measurement, PyTree]) -> Any:
    """Carry out the planned measurement of a single subject."""
    measurement, arrays = plan
    raw = jax.device_get(measurement.on_device(subject.params, arrays))
    return measurement.on_host(raw, subject)
