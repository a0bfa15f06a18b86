"""How long a training step of each architecture takes here: measured before anything is planned.

The program is the one whose cost is reported (`evaluation.cost`), with as many documents as a step
of the training has, each as long as those of the train batches: costs may be asked at any length,
and a task whose documents have a long tail of lengths trains on few that are near its limit.
"""

import dataclasses
import time
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.cost.measure import CostOptions, cost_rows
from mecheval_jax.experiment import Experiment
from mecheval_jax.models.language_model import ModelConfig
from mecheval_jax.selection.plan import Timing
from mecheval_jax.selection.request import ChoiceRequest
from mecheval_jax.training.data import BLOCK, HostDocuments, part_sizes
from mecheval_jax.training.host_steps import are_in_parts

REPEATS, SECONDS = 5, 4.0
"""Calls of each program that are timed, and seconds after which no further one is begun."""

ALIKE = 0.1
"""Share of a length by which that of the train batches may differ and be taken for the same: less
than the times themselves are off, and what is measured for the plan is then measured for the costs.
"""


def options_of(request: ChoiceRequest) -> CostOptions:
    """How the costs of a choice are measured: training with the batches of its runs."""
    tokens = request.experiment.training.batch_size * request.lengths[0]
    return CostOptions(request.lengths, tokens=tokens, repeats=REPEATS, seconds=SECONDS)


def step_options(request: ChoiceRequest) -> CostOptions:
    """How a training step is measured for the plan: one as the runs take it."""
    length = tokens_of_documents(request.experiment)
    if abs(length - request.lengths[0]) <= ALIKE * request.lengths[0]:
        length = request.lengths[0]
    tokens = request.experiment.training.batch_size * length
    return dataclasses.replace(
        options_of(request), lengths=(length,), programs=("training",), tokens=tokens
    )


def tokens_of_documents(experiment: Experiment) -> int:
    """Tokens that a training step computes of each document, padding included: a mean, at least 2.

    Documents that are drawn on the host are computed in parts, each padded to the bucket of its
    longest; the mean is over the batches of one block.
    """
    task, training = experiment.task, experiment.training
    if task.traceable:
        return max(2, task.read_length)
    unit = None
    if are_in_parts(training, jax.devices()[0].platform):
        unit = training.gradient_accumulation
    drawn = (training.batch_size, training.replay)
    documents = HostDocuments(task, jax.random.key(training.data_seed), *drawn, unit=unit)
    rows = part_sizes(training.batch_size, unit) if unit else (training.batch_size,)
    steps = min(BLOCK, training.steps, training.training_batches or BLOCK)
    widths = [documents.widths(documents.longest(step)) for step in range(steps)]
    computed = np.minimum(widths, task.read_length) @ np.array(rows)
    return max(2, round(float(computed.mean()) / training.batch_size))


def measure_steps(
    models: Mapping[str, ModelConfig], how: CostOptions, until: float | None = None
) -> tuple[dict[tuple[str, int], Timing], list[dict[str, Any]]]:
    """Measure a training step of each model.

    Args:
        models: Shapes of models by their names.
        how: How costs are measured, of one length and the training alone.
        until: When no further one is measured, of `time.monotonic`; None for never.

    Returns:
        How long each that was measured takes, by its mixer and width, and the rows of its costs.

    Raises:
        UserError: If a step of one cannot be taken here, such as for lack of memory.
    """
    found, rows = {}, []
    began = time.monotonic()
    for row in cost_rows(models, how):
        now = time.monotonic()
        if row["seconds"] is None:
            raise UserError(
                f"a training step of {row['model']} with {row['length']:,} tokens a document "
                f"cannot be taken here ({row['reason']}): give other architectures by --mixer, or "
                "smaller --widths"
            )
        calls = (row["calls"] + 1) * row["seconds"]  # the first is not among them
        found[row["mixer"], row["width"]] = Timing(row["seconds"], max(now - began - calls, 0.0))
        rows.append(row)
        began = now
        if until is not None and now > until:
            break
    return found, rows
