"""The study's numbers (arXiv 2505.15105), read from the tables beside this module.

accuracies.csv      decoded from the study's vector figures; every accuracy is of 320 documents, of
                    one seed and of the best learning rate of the grid
learning_rates.csv  accuracy for each learning rate, read off a plot (+-0.02)
attributions.csv    restored shares at sites and roles: single runs, medians with quartiles, ranges
                    over all runs and, of each width, the best run, by its learning rate; ranges
                    where the value is corrupted in place of the key; and, where the study has no
                    shares, the probability of the answer that is restored

``source`` is the name of the figure or table. Tasks, options and split are named as in
`study.results`.
"""

import functools
import math
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import pandas as pd

from mecheval_jax.statistics.intervals import Interval

DOCUMENTS = 320
"""Number of documents in every published accuracy."""

WIDTHS = (16, 32, 64, 128, 256)
"""Widths of the study's models."""

NAMES = ("accuracies", "learning_rates", "attributions")


class GridCell(NamedTuple):
    """A cell of the study's grids: the columns by which an accuracy is looked up."""

    mixer: str
    width: int
    task: str = "AR"
    layers: int = 2
    positions: str = "none"
    option: str = ""
    split: str = "test"


CELL = list(GridCell._fields)
"""Names of these columns."""


@functools.cache
def published(name: str) -> pd.DataFrame:
    """One of the tables `NAMES`; callers share it and must not change it."""
    return pd.read_csv(pathlib.Path(__file__).parent / f"{name}.csv", keep_default_na=False)


@functools.cache
def _by_cell(source: str = "") -> dict[GridCell, float]:
    # The figure of all learning rates precedes the comparison of positions, which has fewer.
    table = published("accuracies")
    table = table[table["source"] == source] if source else table
    table = table.drop_duplicates(CELL)
    cells = table[CELL].itertuples(index=False, name=None)
    return dict(zip(map(GridCell._make, cells), table["accuracy"], strict=True))


def published_accuracy(cell: GridCell) -> float | None:
    """The accuracy, 0 to 1, of the best learning rate; None if the study shows none."""
    return _by_cell().get(cell)


def published_gain_by_positions(mixer: str, width: int) -> Interval | None:
    """Published accuracy with learned positions less that without, twice; None if it is unknown.

    Both are of the study's comparison of positions, whose grid of learning rates is smaller than
    that of its main figure.
    """
    learned, none = (
        _by_cell("pos_embed").get(GridCell(mixer, width, positions=positions))
        for positions in ("learned", "none")
    )
    return None if learned is None or none is None else (learned - none,) * 2


RECALL = {
    "name": "associative_recall",
    "pairs": 16,
    "min_pairs": None,
    "key_vocabulary": 4096,
    "value_vocabulary": 4096,
    "reverse": False,
    "filler": 0,
    "queries": 1,
    "held_out": 0.0,
}
"""The study's recall task, ``AR``."""


OPTIONS = {"mamba": {"d_conv": 4}, "based": {"kernel": 3}}
"""Options of the study's mixers, which `option_text` leaves out."""


def option_text(mixer: str, options: Mapping[str, Any]) -> str:
    """Options that differ from the study's own, as ``d_conv=2``."""
    own = OPTIONS.get(mixer, {})
    given = {name: value for name, value in options.items() if own.get(name) != value}
    return " ".join(f"{name}={given[name]}" for name in sorted(given))


MODEL = {
    "feed_forward": "mlp",
    "mamba_feed_forward": "none",
    "canon": 0,
    "hidden": 0,
    "activation": "gelu",
    "feed_forward_bias": True,
    "norm": "auto",
    "norm_epsilon": 1e-5,
    "output_norm": "layer",
    "parallel": False,
    "tied": True,
    "dtype": "float32",
    "max_length": 1024,
}
"""What all of the study's models have in common."""

TRAINING = {
    "beta1": 0.9,
    "weight_decay": 0.0,
    "scaled_rates": False,
    "shuffle": False,
    "target_accuracy": None,
}
"""What all of the study's trainings have in common, beside what decides a regime."""


def published_beside(task: Mapping[str, Any], model: Mapping[str, Any]) -> float | None:
    """The published accuracy on test documents that a run may be compared with.

    Args:
        task: Section of the run's config.
        model: Section of the run's config.

    Returns:
        None of another task than the study's recall, and where the study shows no such model.
    """
    same = [task.get(name) == value for name, value in RECALL.items()]
    same += [model.get(name, value) == value for name, value in MODEL.items()]
    if not all(same):
        return None
    mixer, option = str(model["mixer"]), option_text(model["mixer"], model["mixer_options"])
    width, layers = int(model["width"]), int(model["layers"])
    return published_accuracy(GridCell(mixer, width, "AR", layers, str(model["positions"]), option))


class Shares(NamedTuple):
    """Restored shares of the study's runs.

    Attributes:
        median: Median over the runs; NaN if only their range is known.
        low: Lower end of the middle half of the runs, or of their range.
        high: Upper end of the middle half of the runs, or of their range.
    """

    median: float
    low: float
    high: float

    @property
    def ends(self) -> Interval:
        """Twice the median, or the range: the numbers for a comparison."""
        return (self.low, self.high) if math.isnan(self.median) else (self.median, self.median)


@functools.cache
def _by_place() -> dict[tuple, dict[str, Shares]]:
    places: dict[tuple, dict[str, Shares]] = {}
    table = published("attributions")
    for row in table[table["statistic"].isin(("median", "range"))].itertuples():
        median, low, high = (float(x or "nan") for x in (row.value, row.low, row.high))
        if math.isnan(low):  # all runs of the middle half are equal
            low = high = median
        place = (row.task, row.layers, row.mixer, row.option, row.site, row.role)
        places.setdefault(place, {})[row.statistic] = Shares(median, low, high)
    return places


def published_shares(
    runs: tuple[str, int, str, str], site: str, role: str, first: str = "range"
) -> Shares | None:
    """Restored shares of the study's runs at a place, key corrupted; None if it shows none.

    Args:
        runs: Task, number of layers, mixer and option.
        site: Path of the site.
        role: Role of the token.
        first: ``range`` of all runs, with which a single one is compared, or ``median`` with the
            middle half; where the study shows only the other, it is that one.
    """
    shown = _by_place().get((*runs, site, role), {})
    return shown.get(first) or next(iter(shown.values()), None)
