"""Columns of the tables of a run, one measured value a row; `store.results` writes most of them."""

import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from mecheval_jax.evaluation.accuracy import COLUMNS as SLICES
from mecheval_jax.experiment import Experiment
from mecheval_jax.files import read_table
from mecheval_jax.store.remedies import NOT_NEEDED

METRICS = ("step", "split", "loss", "accuracy", "seconds_per_step")
"""Columns of ``metrics.csv``; that of a sweep has ``member`` after the split."""

RUN = ("run", "mixer", "width", "layers", "learning_rate", "seed", "step", "split")
"""Columns that say which run, and which of its steps."""

PLACE = ("corruption", "direction", "layer", "component", "site", "role")
MEASURED = ("metric", "value", "low", "high", "documents", "p_value", "significant")

INTERCHANGE = (*RUN, *PLACE, *MEASURED)
"""Columns of ``interchange.csv``."""

CONTROLS = (*RUN, "control", *PLACE, *MEASURED)
"""Columns of ``controls.csv``."""

TRANSITIONS = (*RUN[:-2], "split", "before", "after", "metric", *MEASURED[1:5])
"""Columns of ``transitions.csv``; the values are training steps."""

WHOLE = ("low_value", "high_value", "queries")
"""Columns of ``slices.csv`` that hold whole numbers."""


def identity(experiment: Experiment) -> dict[str, Any]:
    """Columns that describe the model and the training of a run."""
    training = experiment.training
    how = {"learning_rate": training.learning_rate, "seed": training.seed}
    return experiment.model.shape | how


def long_table(
    rows: Iterable[Mapping[str, Any]],
    constants: Mapping[str, Any],
    columns: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Rows with shared cells, in the order of the columns (of their appearance if None)."""
    table = pd.DataFrame([{**constants, **row} for row in rows], columns=columns)
    # Whole numbers that some rows lack: embedding and final_norm have no layer.
    whole = {name: "Int64" for name in ("layer", "cells", "edges") if name in table}
    return table.astype(whole)


def read_slices(path: pathlib.Path) -> list[dict[str, Any]]:
    """The rows of a ``slices.csv``; none where there is no file.

    Raises:
        UserError: If the file is damaged.
    """
    if not path.exists():
        return []
    # Values are converted by Python: an empty cell is refused, and no digit is lost. Several
    # queries of one document alone have no interval.
    kinds = {name: int if name in WHOLE else float for name in SLICES[1:]}
    kinds |= dict.fromkeys(("low", "high"), lambda text: float(text or "nan"))
    return read_table(path, remedy=NOT_NEEDED, usecols=SLICES, converters=kinds).to_dict("records")
