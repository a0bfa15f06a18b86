"""The least memory that a training can take: one that cannot fit is refused before it begins.

It is reckoned from the config alone, before anything is compiled or allocated: bytes of

    parameters      embedding (and head), positions, and at least width^2 for each layer
    optimizer       Adam's two moments, and the gradient
    a batch         tokens, the residual stream of every layer, and logits of one query
    documents       tokens of the evaluation documents

The stream has the type of the model's activations, and all else 32 bits. A training that passes may
still not fit: then the device says so.
"""

import dataclasses

import jax.numpy as jnp

from mecheval_jax.errors import UserError
from mecheval_jax.models.language_model import ModelConfig
from mecheval_jax.partitioning.memory import total_memory
from mecheval_jax.tasks.base import Task
from mecheval_jax.tasks.packed import SMALLEST_BUCKET
from mecheval_jax.training.config import TrainingConfig

NUMBER = 4
"""Bytes of a number that is no activation."""


@dataclasses.dataclass(frozen=True)
class Footprint:
    """Bytes that a training takes at the least.

    Attributes:
        parameters: Bytes of the model.
        optimizer: Bytes of Adam's moments and the gradients.
        batch: Bytes of the documents of a micro-batch and their activations.
        documents: Bytes of the evaluation documents.
    """

    parameters: int
    optimizer: int
    batch: int
    documents: int

    def check(self, available: int, remedy: str) -> None:
        """Check that it fits.

        Args:
            available: Bytes that there are.
            remedy: What the user may do, after "take".

        Raises:
            UserError: If it does not; the message says what takes how much.
        """
        parts = {name: size for name, size in dataclasses.asdict(self).items() if size}
        if sum(parts.values()) > available:
            listed = ", ".join(f"{name} {_gibibytes(size)}" for name, size in parts.items())
            raise UserError(
                f"this takes at least {_gibibytes(sum(parts.values()))} of memory ({listed}), and "
                f"there are {_gibibytes(available)}: take {remedy}"
            )


def check_memory(model: ModelConfig, task: Task, training: TrainingConfig, documents: int) -> None:
    """Check that there is memory for a training, before anything is allocated.

    Args:
        model: Shape of the model.
        task: Source of the documents.
        training: Regime of the training.
        documents: Number of documents on which the trained model is evaluated.

    Raises:
        UserError: If there is not; the message says what would be taken, and what there is.
    """
    on_the_way = training.evaluation_documents
    fields = {"evaluation.documents": documents, "training.evaluation_documents": on_the_way}
    most = max(fields, key=fields.__getitem__)
    footprint_of(model, task, training, documents).check(
        total_memory(),
        f"less of model.width ({model.width:,}), model.layers ({model.layers:,}), the task's "
        f"vocabulary ({model.vocabulary_size:,}) or length ({task.max_length:,}), "
        f"training.batch_size ({training.batch_size:,}) or {most} ({fields[most]:,})",
    )


def check_documents(task: Task, count: int) -> None:
    """Check that there is memory for documents, before they are drawn.

    Raises:
        UserError: If there is not.
    """
    footprint = Footprint(0, 0, 0, count * NUMBER * _length(task))
    footprint.check(total_memory(), f"fewer than {count:,} documents, or shorter ones")


def footprint_of(
    model: ModelConfig, task: Task, training: TrainingConfig, documents: int
) -> Footprint:
    """What a training takes at the least; the arguments are those of `check_memory`."""
    length, rows = _length(task), training.batch_size // training.gradient_accumulation
    tables = model.vocabulary_size * (1 if model.tied else 2)
    tables += model.max_length if model.positions == "learned" else 0
    parameters = tables * model.width + model.layers * model.width * (model.width + model.canon)
    stream = length * model.layers * model.width * jnp.dtype(model.dtype).itemsize
    return Footprint(
        parameters=NUMBER * parameters,
        optimizer=3 * NUMBER * parameters,
        batch=rows * (NUMBER * (length + model.vocabulary_size) + stream),
        documents=NUMBER * max(training.evaluation_documents, documents) * length,
    )


def _length(task: Task) -> int:
    """Least number of tokens to which documents are padded; a host may draw short ones alone."""
    return task.max_length if task.traceable else min(task.max_length, SMALLEST_BUCKET)


def _gibibytes(size: int) -> str:
    return f"{size / 2**30:,.2f} GiB"
