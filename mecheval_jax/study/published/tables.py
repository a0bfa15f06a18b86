"""The study's numbers (arXiv 2505.15105), read from the tables beside this module.

accuracies.csv      decoded from the study's vector figures; every accuracy is of 320 documents, of
                    one seed and of the best learning rate of the grid
learning_rates.csv  accuracy for each learning rate, read off a plot (+-0.02)
attributions.csv    restored shares at sites and roles: single runs, medians with quartiles, ranges

``source`` is the name of the figure or table. Tasks, options and split are named as in
`study.results`.
"""

import functools
import pathlib
from typing import NamedTuple

import pandas as pd

DOCUMENTS = 320
"""Documents that every published accuracy rests on."""

WIDTHS = (16, 32, 64, 128, 256)
"""Of the study's models."""

NAMES = ("accuracies", "learning_rates", "attributions")


class Cell(NamedTuple):
    """A cell of the study's grids: the columns by which an accuracy is looked up."""

    mixer: str
    width: int
    task: str = "AR"
    layers: int = 2
    positions: str = "none"
    option: str = ""
    split: str = "test"


CELL = list(Cell._fields)
"""Names of these columns."""


@functools.cache
def published(name: str) -> pd.DataFrame:
    """One of the tables `NAMES`; it is shared, so leave it as it is."""
    return pd.read_csv(pathlib.Path(__file__).parent / f"{name}.csv", keep_default_na=False)


@functools.cache
def _by_cell() -> dict[Cell, float]:
    # The figure of all learning rates stands before the comparison of positions, of fewer.
    table = published("accuracies").drop_duplicates(CELL)
    cells = table[CELL].itertuples(index=False, name=None)
    return dict(zip(map(Cell._make, cells), table["accuracy"], strict=True))


def published_accuracy(cell: Cell) -> float | None:
    """The accuracy, 0 to 1, of the best learning rate; None where the study shows none."""
    return _by_cell().get(cell)
