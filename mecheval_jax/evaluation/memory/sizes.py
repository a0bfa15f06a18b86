"""Documents of other sizes than in training, and a model's answers to them.

The size of a task is the first of the fields `SIZES` that it has: the number of pairs, tokens or
contexts in a document. Documents of all sizes are padded to one length, so that they share one
program; padding behind a query cannot change its answer.
"""

import dataclasses
import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mecheval_jax.array_types import Array, PyTree
from mecheval_jax.errors import UserError, choose
from mecheval_jax.evaluation.subject import Subject
from mecheval_jax.fields import field_value_of_text, tuple_in, types_of
from mecheval_jax.interventions.capture import run
from mecheval_jax.models.language_model import LanguageModel, ModelConfig
from mecheval_jax.tasks.base import ABSENT, PAD, Batch, Task
from mecheval_jax.tasks.scoring import AnswerScores, score
from mecheval_jax.training.data import evaluation_batch
from mecheval_jax.training.members import of_one_width

SIZES = ("pairs", "length", "contexts", "copied")
"""Fields of tasks that give the size of a document."""

AT_ONCE = 32
"""Number of documents that are answered at once, for the memory of the longest."""


def size_of(task: Task) -> tuple[str, int]:
    """The field that is the size of a task, and its greatest value.

    Raises:
        UserError: If documents of the task have no such size.
    """
    for name in SIZES:
        value = getattr(task, name, None)
        if value is not None:
            return name, max(value) if isinstance(value, tuple) else value
    raise UserError(
        f"{type(task).__name__} has no field with the size of its documents ({', '.join(SIZES)})"
    )


def of_size(task: Task, size: int) -> dict[str, Any]:
    """Fields that give a task documents of exactly this size.

    Multi-query recall keeps the number of tokens per pair that its documents of most pairs have;
    there are no more questions than pairs.

    Raises:
        UserError: If documents of the task have no size.
    """
    (name, largest), values = size_of(task), vars(task)
    if isinstance(values[name], tuple):
        settings = zip(values["lengths"], values[name], strict=True)
        tokens = max(length for length, own in settings if own == largest) * size / largest
        return {name: (size,), "lengths": (2 * int(np.ceil(tokens / 2)),)}
    changes: dict[str, Any] = {name: size}
    if "min_pairs" in values:
        changes["min_pairs"] = None
    for bounded in ("queries", "rebound"):
        if bounded in values and name in ("pairs", "length"):
            changes[bounded] = min(values[bounded], size)
    return changes


def resized(task: Task, changes: Mapping[str, Any], model: ModelConfig) -> Task:
    """A task with some fields changed, whose documents a trained model can still read.

    Args:
        task: Task on which the model was trained.
        changes: Values by field.
        model: Config of the model.

    Raises:
        UserError: If a field does not exist, a value is not possible, the vocabulary would change,
            or documents are longer than the model's limit.
    """
    for name in changes:
        choose(f"field of {type(task).__name__}", name, types_of(type(task)))
    other = dataclasses.replace(task, **changes)  # pyright: ignore[reportArgumentType,reportType]
    told = ", ".join(f"task.{name}={value}" for name, value in changes.items())
    if other.vocabulary_size != task.vocabulary_size:
        raise UserError(
            f"{told}: {other.vocabulary_size} tokens, and the model was trained on "
            f"{task.vocabulary_size}; change what leaves the vocabulary as it is"
        )
    if other.max_length > model.max_length:
        raise UserError(
            f"{told}: documents of {other.max_length} tokens, and model.max_length is "
            f"{model.max_length}"
        )
    return other


def tasks_of_sizes(
    task: Task, sizes: Iterable[int], model: ModelConfig
) -> tuple[dict[int, Task], UserError | None]:
    """The task with each size that it can have, and why it cannot have the last of the others."""
    found, why = {}, None
    for size in sizes:
        try:
            found[size] = resized(task, of_size(task, size), model)
        except UserError as error:
            why = error
    return found, why


def changes_of(setting: str, task: Task) -> dict[str, Any]:
    """Values by field in a text such as ``pairs=16+queries=4``.

    Raises:
        UserError: If the text is not a setting, a field does not exist or is given twice, or a
            value has another type.
    """
    changes = {}
    for part in setting.split("+"):
        name, given, text = part.strip().partition("=")
        if not given:
            raise UserError(f"{setting!r} is no setting: give field=value, several joined by +")
        if name in changes:
            raise UserError(f"{setting!r} gives {name} twice")
        kinds = types_of(type(task))
        kind = kinds[choose(f"field of {type(task).__name__}", name, kinds)]
        # Settings stand between commas, so that the values of one field stand between slashes.
        value = text if tuple_in(kind) is None else text.replace("/", ",")
        changes[name] = field_value_of_text(name, value, kind)
    return changes


def documents_of_sizes(subject: Subject, tasks: Sequence[Task]) -> list[Batch]:
    """Documents of each task, all padded to one length and number of queries."""
    evaluation = subject.evaluation
    batches = [
        evaluation_batch(task, subject.data_seed, evaluation.documents, evaluation.split)
        for task in tasks
    ]
    queries = max(batch.targets.shape[1] for batch in batches)
    return [_padded(batch, queries) for batch in of_one_width(batches)]


def _padded(batch: Batch, queries: int) -> Batch:
    """Documents with queries of weight 0 behind their own."""

    def wider(array: Array, width: int, fill: int) -> Array:
        missing = ((0, 0), (0, width - array.shape[1]))
        return jnp.pad(array, missing, constant_values=fill)

    return batch.replace(
        query_positions=wider(batch.query_positions, queries, 0),
        targets=wider(batch.targets, queries, PAD),
        weights=wider(batch.weights, queries, 0),
        roles={name: wider(at, queries, ABSENT) for name, at in batch.roles.items()},
    )


def answers_to(subject: Subject, batch: Batch) -> AnswerScores:
    """A model's answers to all queries of documents, on the host."""
    return jax.device_get(_answer(subject.config, subject.params, batch))


@functools.partial(jax.jit, static_argnums=0)
def _answer(config: ModelConfig, params: PyTree, batch: Batch) -> AnswerScores:
    model = LanguageModel(config)

    def answered(document: Batch) -> AnswerScores:
        alone = jax.tree.map(lambda leaf: leaf[None], document)
        return score(run(model, params, alone), alone)

    one_each = jax.lax.map(answered, batch, batch_size=AT_ONCE)
    return jax.tree.map(lambda leaf: leaf[:, 0], one_each)
