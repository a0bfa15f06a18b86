"""Names of lines and marks: in a legend below the axes, or at the ends of lines."""

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D

from mecheval_jax.reporting.figures.drawing import GREY, LETTER, make_drawable
from mecheval_jax.reporting.figures.look import look


def legend_below(figure: Figure, columns: int = 3, entries: Any = None, **options: Any) -> None:
    """Draw a legend below the axes, of their labels or of other (name, line) pairs.

    A figure of which it would take more than half becomes higher, and so does one of a prescribed
    width, in which the axes are low as they are.

    Args:
        figure: Figure of the axes, of its final width.
        columns: Number of columns; fewer are drawn where so many are wider than the figure, and
            names in lines where one is.
        entries: The pairs; labels of the axes if None.
        **options: Options of `Figure.legend`.
    """
    names, lines = zip(*entries, strict=True) if entries else ((), ())
    given = () if entries is None else (lines, names)
    for count in range(columns, 0, -1):
        how = {"loc": "outside lower center", "ncols": count, "frameon": False}
        legend = figure.legend(*given, **how, **options)
        make_drawable(figure)
        if count == 1:
            _break_names(legend, figure.bbox.width)
        if count == 1 or legend.get_window_extent().width <= figure.bbox.width:
            height = figure.get_figheight()
            rest = height / 2 if look().width is None else height - 2 * look().font_size / 72
            needed = rest + legend.get_window_extent().height / figure.dpi
            figure.set_figheight(max(height, needed))
            return
        legend.remove()


def _break_names(legend: Legend, width: float) -> None:
    """Break the names in a legend of one column that is wider than this many pixels."""
    texts = {text: text.get_window_extent().width for text in legend.get_texts()}
    beside = legend.get_window_extent().width - max(texts.values(), default=0)
    for text, needed in texts.items():
        share = (width - beside) / max(needed, 1)
        if share < 1:
            letters = max(int(0.95 * share * len(text.get_text())), 8)
            text.set_text(textwrap.fill(text.get_text(), letters))


def labelled(axes: Axes) -> list[tuple[str, Any]]:
    """Entries of the legend of some axes: names and lines."""
    lines, names = axes.get_legend_handles_labels()
    return list(zip(names, lines, strict=True))


MOST_DIRECT = 4
"""Number of lines up to which each is named at its end, and not in a legend."""

BESIDE = 0.22
"""Share of a figure's width that names beside the axes may take: 24 letters of the plain width."""

SMALL = 0.833
"""Size of small letters, as a share of the size of the others."""


def name_lines(figure: Figure, axes: Axes, entries: Sequence[tuple[str, Line2D]]) -> None:
    """Name lines at their right ends, or in a legend below if there are many or a name is long.

    A stroke leads from its end to its name. Names are black, so that those of pale lines can be
    read.

    Args:
        figure: Figure of the axes.
        axes: Axes with their final limits.
        entries: Names and lines; a line across the axes ends at their edge.
    """
    letter = LETTER * SMALL * look().font_size / 72
    longest = max((len(name) for name, _ in entries), default=0)
    if len(entries) > MOST_DIRECT or letter * longest > BESIDE * figure.get_figwidth():
        legend_below(figure, 2, entries)
        return
    edge = axes.get_yaxis_transform()
    ends = []
    for name, line in entries:
        x, y = (np.asarray(part, float) for part in line.get_data())
        known = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
        if len(known):
            ends.append((y[known[-1]], x[known[-1]], name, line))
    ends.sort(key=lambda end: end[0])
    low, high = axes.get_ylim()
    heights = np.array([end[0] for end in ends], float)
    for i in range(1, len(heights)):  # clear of the one below
        heights[i] = max(heights[i], heights[i - 1] + LINE_ROOM * (high - low))
    heights -= max(0.0, heights.max(initial=low) - high)
    for (y, x, name, line), height in zip(ends, heights, strict=True):
        # Thin and grey beside the axes: in the line's colour it would look like more of the line.
        stroke = {"arrowstyle": "-", "color": GREY, "linewidth": 0.6, "shrinkA": 1, "shrinkB": 3}
        where = edge if line.get_transform() == edge else "data"
        letters = {"va": "center", "fontsize": "small", "annotation_clip": False}
        places = {"xycoords": where, "textcoords": edge, "arrowprops": stroke}
        axes.annotate(name, (x, y), (1.045, height), **places, **letters)


LINE_ROOM = 0.075
"""Share of the axes' height that the name of a line needs."""
