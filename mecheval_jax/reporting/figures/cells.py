"""A heat map whose cells carry their numbers."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, Normalize
from matplotlib.patches import Rectangle

from mecheval_jax.reporting.terminal.tables import number


def draw_cells(
    axes: Axes,
    values: np.ndarray,
    columns: Sequence[object],
    rows: Sequence[object],
    norm: Normalize,
    colours: Colormap,
) -> None:
    """Draw a table as coloured cells with numbers; a grey hatched cell has no value.

    Args:
        axes: to draw on.
        values: [rows, columns]; NaN where there is none.
        columns: names of the columns.
        rows: names of the rows.
        norm: from values to colours, of a scale that ends at 1: dark from 0.6 on.
        colours: the scale.
    """
    axes.imshow(np.ma.masked_invalid(values), cmap=colours, norm=norm, aspect="auto")
    for (y, x), value in np.ndenumerate(values):
        if math.isnan(value):
            cell = Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor="#e6e6e6", linewidth=0)
            cell.set(hatch="////", edgecolor="#a0a0a0")
            axes.add_patch(cell)
        else:
            pale = abs(min(max(value, -1), 1)) < 0.6
            ink = "black" if pale else "white"
            axes.text(x, y, number(value), ha="center", va="center", color=ink, fontsize=9)
    axes.set_xticks(range(len(columns)), columns, rotation=35, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(rows)), rows)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    # White lines between cells.
    axes.set_xticks(np.arange(len(columns) - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(len(rows) - 1) + 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="minor", length=0)
