"""How long a training step of each architecture takes here: measured before anything is planned.

The program is the one whose cost is reported (`evaluation.cost`), with as many documents as a step
of the training has, so that what is compiled and measured here need not be again.
"""

import time
from collections.abc import Mapping
from typing import Any

from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.cost.measure import CostOptions, cost_rows
from mecheval_jax.models.language_model import ModelConfig
from mecheval_jax.selection.plan import Timing
from mecheval_jax.selection.request import ChoiceRequest

REPEATS, SECONDS = 5, 4.0
"""Calls of each program that are timed, and seconds after which no further one is begun."""


def options_of(request: ChoiceRequest) -> CostOptions:
    """How the costs of a choice are measured: training with the batches of its runs."""
    tokens = request.experiment.training.batch_size * request.lengths[0]
    return CostOptions(request.lengths, tokens=tokens, repeats=REPEATS, seconds=SECONDS)


def measure_steps(
    models: Mapping[str, ModelConfig], how: CostOptions, until: float | None = None
) -> tuple[dict[str, Timing], list[dict[str, Any]]]:
    """Measure a training step of each model.

    Args:
        models: Shapes of models by their names.
        how: How costs are measured, of one length and the training alone.
        until: When no further one is measured, of `time.monotonic`; None for never.

    Returns:
        How long each that was measured takes, and the rows of its costs.

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
                "a smaller --length"
            )
        calls = (row["calls"] + 1) * row["seconds"]  # the first is not among them
        found[row["model"]] = Timing(row["seconds"], max(now - began - calls, 0.0))
        rows.append(row)
        began = now
        if until is not None and now > until:
            break
    return found, rows
