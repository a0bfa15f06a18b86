"""Ensembles: runs of one shape that train together, and their documents."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mecheval_jax.array_types import PyTree
from mecheval_jax.models.language_model import ModelConfig
from mecheval_jax.tasks.base import Batch, Task
from mecheval_jax.training.config import TrainingConfig
from mecheval_jax.training.data import evaluation_batch
from mecheval_jax.training.optimizer import Hyperparameters
from mecheval_jax.training.state import hyperparameters_of


@dataclasses.dataclass(frozen=True)
class Ensemble:
    """Runs that differ in `HYPERPARAMETERS` alone: the members of a group, or a single run.

    Attributes:
        model: Config of the model of every member.
        task: Task of every member.
        runs: Config of the training of each member.
    """

    model: ModelConfig
    task: Task
    runs: tuple[TrainingConfig, ...]

    @property
    def training(self) -> TrainingConfig:
        """The config that all members share; its `HYPERPARAMETERS` are those of the longest run."""
        return max(self.runs, key=lambda run: run.steps)

    @property
    def hyperparameters(self) -> Hyperparameters:
        """Hyperparameters of all members [member], on the host."""
        return jax.tree.map(lambda *of: np.stack(of), *map(hyperparameters_of, self.runs))

    def next_stop(self, step: int) -> int:
        """The next step at which the loop would return to the host for any one of the runs."""
        return min(run.next_stop(step) for run in self.runs if run.steps > step)

    def is_evaluated_at(self, step: int) -> bool:
        """Whether the members are evaluated on dev documents at a stop."""
        ends = {run.steps for run in self.runs}
        return step % self.training.evaluate_every == 0 or step in ends

    def batches(self, draw: Callable[[int], Batch]) -> list[Batch]:
        """A batch for each member, all of one length; drawn once for each data seed."""
        seeds = [run.data_seed for run in self.runs]
        different = list(dict.fromkeys(seeds))
        drawn = dict(zip(different, of_one_width([draw(s) for s in different]), strict=True))
        return [drawn[seed] for seed in seeds]

    def development_documents(self) -> list[Batch]:
        """The dev documents of every member."""
        documents = self.training.evaluation_documents
        return self.batches(lambda seed: evaluation_batch(self.task, seed, documents, "dev"))


def of_one_width(batches: Sequence[Batch]) -> list[Batch]:
    """The batches with their documents padded to the longest of all."""
    width = max(batch.tokens.shape[1] for batch in batches)

    def padded(batch: Batch) -> Batch:
        spare = width - batch.tokens.shape[1]
        longer = jnp.pad(batch.tokens, ((0, 0), (0, spare))) if spare else batch.tokens
        return batch.replace(tokens=longer)

    return [padded(batch) for batch in batches]


def stack(trees: Sequence[PyTree]) -> PyTree:
    """Trees, stacked along a new leading axis; those of the host stay there."""

    def stacked(*of: Any) -> Any:
        return np.stack(of) if isinstance(of[0], np.ndarray) else jnp.stack(of)

    return jax.tree.map(stacked, *trees)
