"""Style of all figures: colours, marks, panels, legends; and how they are saved.

Figures are drawn through matplotlib's objects, without pyplot: there are no global figures, and no
display is needed. The same data give the same SVG, byte for byte.
"""

import functools
import io
import math
import pathlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import matplotlib
import numpy as np
import pandas as pd
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from mecheval_jax.files import write_bytes
from mecheval_jax.reporting.terminal.tables import number

# Okabe and Ito's colours, which the colour-blind can tell apart; their yellow is too pale
# for a line on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GREY = "#909090"
"""Colour of everything that is shown for comparison only."""

FLOOR = {"color": "#555555", "linestyle": "--", "linewidth": 1.2}
"""Style of the line of the best heuristic without recall."""

MARK = {
    "linestyle": "none",
    "markersize": 6,
    "markeredgecolor": "white",
    "markeredgewidth": 0.5,
}
"""Style of marks without lines."""

PALE = "#e0e0e0"

_STYLE = {
    "font.family": "DejaVu Sans",  # part of matplotlib: the same on every machine
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "hatch.linewidth": 0.6,
    "hatch.color": "#a0a0a0",
    "text.parse_math": False,  # a dollar sign in a run's name is a dollar sign
    "svg.hashsalt": "mecheval_jax",
    "svg.fonttype": "path",
}


def styled(draw: Callable) -> Callable:
    """Decorator: draw in this style, regardless of the user's settings of matplotlib."""

    @functools.wraps(draw)
    def drawn(*arguments: Any, **options: Any) -> Any:
        with matplotlib.rc_context(_STYLE):
            return draw(*arguments, **options)

    return drawn


@styled
def save(figure: Figure, folder: pathlib.Path, name: str) -> pathlib.Path:
    """Write ``name.png`` and ``name.svg``; returns the path of the SVG."""
    folder.mkdir(parents=True, exist_ok=True)
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    for options in (
        {"format": "png", "dpi": 150, "metadata": {"Software": None}},
        {"format": "svg", "metadata": nothing},
    ):
        drawn = io.BytesIO()
        figure.savefig(drawn, **options)
        # Written atomically: another shard of a sweep may draw and read the same figure.
        write_bytes(folder / f"{name}.{options['format']}", drawn.getvalue())
        figure.set_layout_engine("none")  # the layout is final, and equal in both files
    return folder / f"{name}.svg"


def picture(
    figure: Figure, folder: pathlib.Path, name: str, prefix: str, description: str
) -> Markup:
    """Save a figure, and turn it into a part of an HTML page; see `save` and `inline`."""
    return inline(save(figure, folder, name), prefix, description)


def colour_and_marker(index: int) -> dict[str, str]:
    """Style of one series among several, by its index."""
    return {"color": COLOURS[index % len(COLOURS)], "marker": MARKERS[index % len(MARKERS)]}


def panels(
    count: int, across: int, width: float, height: float, **options: Any
) -> tuple[Figure, list[Axes]]:
    """A figure of a size in inches, and its axes in reading order.

    Args:
        count: Number of axes; at least 1.
        across: Number of axes in a row; unused places in the last row stay empty.
        width: Width of the figure.
        height: Height of the figure.
        **options: Options of `Figure.subplots`.
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(math.ceil(count / across), across, squeeze=False, **options)
    for axes in grid.flat[count:]:
        axes.set_axis_off()
    return figure, list(grid.flat[:count])


def one_axes(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure of a size in inches with one pair of axes."""
    figure, (axes,) = panels(1, 1, width, height)
    return figure, axes


def across(count: int) -> int:
    """Number of panels in a row, so that rows are full: three of six, two of four."""
    return min(count, 2 if count in (2, 4) else 3) or 1


def legend_below(figure: Figure, columns: int = 3, entries: Any = None, **options: Any) -> None:
    """Draw a legend below the axes, of their labels or of other (name, line) pairs."""
    names, lines = zip(*entries, strict=True) if entries else ((), ())
    given = () if entries is None else (lines, names)
    figure.legend(*given, loc="outside lower center", ncols=columns, frameon=False, **options)


def labelled(axes: Axes) -> list[tuple[str, Any]]:
    """Entries of the legend of some axes: names and lines."""
    lines, names = axes.get_legend_handles_labels()
    return list(zip(names, lines, strict=True))


def colour_bar(
    figure: Figure, axes: Sequence[Axes], scale: ScalarMappable, label: str, **options: Any
) -> None:
    """Draw the scale of colours that several axes share, beside them."""
    bar = figure.colorbar(scale, ax=list(axes), shrink=0.8, **options)
    bar.set_label(label)
    bar.outline.set_visible(False)


def line_with_band(
    axes: Axes, rows: pd.DataFrame, x: str, band: Mapping[str, Any], **style: Any
) -> None:
    """Draw a line, and the interval of its values as a band.

    Args:
        axes: Axes to draw on.
        rows: Rows with ``value``, ``low`` and ``high``, in order.
        x: Column along the axis.
        band: Style of the band; its colour is the line's.
        **style: Style of the line.
    """
    value, low, high = (rows[name].astype(float) for name in ("value", "low", "high"))
    axes.fill_between(rows[x], low, high, color=style["color"], **band)
    axes.plot(rows[x], value, **style)


def around(value: Any, low: Any, high: Any) -> np.ndarray:
    """Lengths of error bars; 0 where a skewed bootstrap's interval does not reach the value."""
    ends = np.array([np.subtract(value, low), np.subtract(high, value)], float)
    return np.maximum(ends, 0).reshape(2, -1)


def accuracy_axis(axes: Axes) -> None:
    """Let the y axis show accuracies, 0 to 100 %."""
    axes.set_ylim(-0.02, 1.02)
    axes.set_yticks(np.linspace(0, 1, 6))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    pale_grid(axes, "y")


def pale_grid(axes: Axes, axis: Literal["x", "y"]) -> None:
    """Draw pale lines across the axes at the ticks of one axis."""
    axes.grid(axis=axis, color=PALE, linewidth=0.8)


def step_axis(axes: Axes, ticks: int = 6) -> None:
    """Let the x axis show training steps, with at most this number of ticks."""
    axes.xaxis.set_major_locator(MaxNLocator(ticks, integer=True))
    axes.xaxis.set_major_formatter(lambda step, _: f"{step:,.0f}")


def inline(path: pathlib.Path, prefix: str, description: str) -> Markup:
    """A saved SVG as a part of an HTML page.

    Args:
        path: Path of the SVG.
        prefix: Text before its ids, so that figures on one page do not share any.
        description: Text for screen readers in place of the picture.
    """
    svg = path.read_text(encoding="utf-8")
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{prefix}-", svg)
    svg = re.sub(r'\s+xmlns(:\w+)?="[^"]*"', "", svg)  # HTML knows the namespaces
    svg = re.sub(r"<!--.*?-->\s*", "", svg, flags=re.DOTALL)
    # Matplotlib escapes all texts; the rest of the file is its own markup.
    return Markup(svg.replace("<svg", f'<svg role="img" aria-label="{escape(description)}"', 1))


SHARES = ScalarMappable(Normalize(0, 1, clip=True), "Blues")
"""Colours of shares."""

ATTRIBUTIONS = ScalarMappable(Normalize(-1, 1, clip=True), "RdBu_r")
"""Colours of attributions, cut at -1 and 1."""


def cells_of(rows: pd.DataFrame, index: str, columns: str) -> pd.DataFrame:
    """The values of rows as a table, in the order in which its lines and columns first occur.

    Args:
        rows: Rows with a ``value``; of several rows of one cell the last one counts.
        index: Column whose values become the lines of the table.
        columns: Column whose values become its columns.
    """
    order = {"index": rows[index].unique(), "columns": rows[columns].unique()}
    cells = rows.drop_duplicates([index, columns], keep="last")
    return cells.pivot(index=index, columns=columns, values="value").reindex(**order).astype(float)


def draw_cells(axes: Axes, cells: pd.DataFrame, scale: ScalarMappable) -> None:
    """Draw a table as coloured cells with numbers; a grey hatched cell has no value.

    Args:
        axes: Axes to draw on.
        cells: Numbers by their lines and columns; NaN where there is none.
        scale: Colours of the numbers, for a scale that ends at 1; text is white from 0.6 on.
    """
    values = cells.to_numpy()
    axes.imshow(np.ma.masked_invalid(values), cmap=scale.cmap, norm=scale.norm, aspect="auto")
    axes.patch.set(facecolor="#e6e6e6", hatch="////", edgecolor="#a0a0a0", linewidth=0)
    for (y, x), value in np.ndenumerate(values):
        if not math.isnan(value):
            ink = "black" if abs(value) < 0.6 else "white"
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
