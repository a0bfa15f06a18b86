"""A heat map whose cells carry their numbers."""

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.patches import Rectangle

from mecheval_jax.reporting.terminal.tables import number

SHARES = ScalarMappable(Normalize(0, 1, clip=True), "Blues")
"""Colours of shares."""

ATTRIBUTIONS = ScalarMappable(Normalize(-1, 1, clip=True), "RdBu_r")
"""Colours of attributions, cut at -1 and 1."""


def cells_of(rows: pd.DataFrame, index: str, columns: str) -> pd.DataFrame:
    """The values of rows as a table, in the order in which its lines and columns first occur.

    Args:
        rows: Rows with a ``value``; of those that share a cell the last one counts.
        index: Column that becomes the lines of the table.
        columns: Column that becomes its columns.
    """
    order = {"index": rows[index].unique(), "columns": rows[columns].unique()}
    cells = rows.drop_duplicates([index, columns], keep="last")
    return cells.pivot(index=index, columns=columns, values="value").reindex(**order).astype(float)


def draw_cells(axes: Axes, cells: pd.DataFrame, scale: ScalarMappable) -> None:
    """Draw a table as coloured cells with numbers; a grey hatched cell has no value.

    Args:
        axes: Axes to draw on.
        cells: Numbers by their lines and columns; NaN where there is none.
        scale: Colours of the numbers, of a scale that ends at 1: dark from 0.6 on.
    """
    values = cells.to_numpy()
    axes.imshow(np.ma.masked_invalid(values), cmap=scale.cmap, norm=scale.norm, aspect="auto")
    for (y, x), value in np.ndenumerate(values):
        if math.isnan(value):
            cell = Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor="#e6e6e6", linewidth=0)
            cell.set(hatch="////", edgecolor="#a0a0a0")
            axes.add_patch(cell)
        else:
            pale = abs(min(max(value, -1), 1)) < 0.6
            ink = "black" if pale else "white"
            axes.text(x, y, number(value), ha="center", va="center", color=ink, fontsize=9)
    names = list(cells.columns)
    axes.set_xticks(range(len(names)), names, rotation=35, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(cells)), list(cells.index))
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    # White lines between cells.
    axes.set_xticks(np.arange(len(names) - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(len(cells) - 1) + 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="minor", length=0)
