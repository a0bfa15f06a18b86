"""Parts of figures: colours, panels, lines with bands, cells, and notes on marks.

Figures are drawn through matplotlib's objects, without pyplot: there are no global figures, and no
display is needed.
"""

import functools
import io
import itertools
import math
import textwrap
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import (
    Formatter,
    LogLocator,
    MaxNLocator,
    NullFormatter,
    PercentFormatter,
)

from mecheval_jax.console import printable
from mecheval_jax.reporting.figures.ink import ink_on
from mecheval_jax.reporting.figures.look import look
from mecheval_jax.reporting.terminal.tables import interval, number

# Okabe and Ito's colours, which the colour-blind can tell apart; their yellow is too pale
# for a line on white.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GREY = "#909090"
"""Colour of everything that is shown for comparison only."""

FLOOR = {"color": "#555555", "linestyle": "--", "linewidth": 1.2}
"""Style of the line of the best heuristic without recall."""

MARK = {"linestyle": "none", "markersize": 6, "markeredgecolor": "white", "markeredgewidth": 0.5}
"""Style of marks without lines."""

PALE = "#e0e0e0"


class Note(NamedTuple):
    """A note on a mark.

    Attributes:
        axes: Axes that have the mark.
        x: Horizontal coordinate of the mark.
        y: Vertical coordinate of the mark.
        text: Text that is shown under the pointer.
    """

    axes: Axes
    x: Any
    y: Any
    text: str


class Drawing(Figure):
    """A figure with notes on its marks, whose texts may be anything.

    Names of runs and tokens of documents become its texts. Control characters in them are spelled
    out before it is drawn: with them an SVG is no XML, and no font has them.
    """

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        self.notes: list[Note] = []

    def draw(self, renderer: Any) -> None:
        """Draw the figure, as every format does, with texts that can be drawn."""
        _make_drawable(self)
        self.notes = [note._replace(text=_drawable(note.text)) for note in self.notes]
        super().draw(renderer)

    def _repr_png_(self) -> bytes:
        """The figure as a notebook shows it."""
        content = io.BytesIO()
        self.savefig(content, format="png", dpi=100, metadata={"Software": None})
        return content.getvalue()


def _drawable(text: str) -> str:
    """A text without control characters, and without the two characters that XML has not."""
    return printable(text).replace("\ufffe", "\\ufffe").replace("\uffff", "\\uffff")


def _make_drawable(figure: Figure) -> None:
    """Spell out in all texts of a figure what cannot be drawn."""
    for text in figure.findobj(Text):
        text.set_text(_drawable(text.get_text()))
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        # The texts of ticks are made anew, by these.
        for formatter in (axis.get_major_formatter(), axis.get_minor_formatter()):
            formatter.format_ticks = functools.partial(_drawable_ticks, formatter)


def _drawable_ticks(formatter: Formatter, values: Iterable[Any]) -> list[str]:
    return [_drawable(str(text)) for text in type(formatter).format_ticks(formatter, values)]


def annotate(axes: Axes, xs: Iterable[Any], ys: Iterable[Any], texts: Iterable[str]) -> None:
    """Add notes on marks; see `Note`."""
    figure = axes.figure
    if isinstance(figure, Drawing):
        figure.notes += map(Note, itertools.repeat(axes), xs, ys, texts)


MOST_NOTES = 400
"""Number of notes of one figure that a page has at most, so that it stays small."""


def colour_and_marker(index: int) -> dict[str, str]:
    """Style of one series among several, by its index; series of one colour differ in marks."""
    marker = MARKERS[(index // len(COLOURS) + index) % len(MARKERS)]
    return {"color": COLOURS[index % len(COLOURS)], "marker": marker}


MIXERS = ("attention", "based", "mamba", "hyena", "base_conv", "h3", "delta_net")
"""Architectures that have a colour and mark of their own, in the order of `COLOURS`."""


def mixer_styles(mixers: Iterable[str]) -> dict[str, dict[str, str]]:
    """Styles of architectures, whose order does not matter: equal ones look equal in all figures.

    An architecture that is not in `MIXERS` has a colour by its name, or the next that is free.
    """
    names, taken = list(dict.fromkeys(mixers)), dict[str, int]()
    for name in sorted(names, key=lambda name: (name not in MIXERS, name)):
        first = MIXERS.index(name) if name in MIXERS else zlib.crc32(name.encode())
        slots = [  # every colour once, then again with other marks
            (first + step) % len(COLOURS) + len(COLOURS) * lap
            for lap in range(len(MARKERS))
            for step in range(len(COLOURS))
        ]
        taken[name] = next((i for i in slots if i not in taken.values()), slots[0])
    return {name: colour_and_marker(taken[name]) for name in names}


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
    scale = (look().width or width) / width
    figure = Drawing(figsize=(scale * width, scale * height), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(math.ceil(count / across), across, squeeze=False, **options)
    for axes in grid.flat[count:]:
        axes.set_axis_off()
    return figure, list(grid.flat[:count])


def one_axes(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure of a size in inches with one pair of axes."""
    figure, (axes,) = panels(1, 1, width, height)
    return figure, axes


def headline(figure: Figure, text: str) -> None:
    """Draw a title over all panels, in as many lines as the width of the figure requires."""
    letters = figure.get_figwidth() * 72 / (0.75 * look().font_size)
    figure.suptitle(textwrap.fill(text, max(12, int(letters))), fontsize="large")


def across(count: int) -> int:
    """Number of panels in a row, so that rows are full: three of six, two of four."""
    return min(count, 2 if count in (2, 4) else 3) or 1


def legend_below(figure: Figure, columns: int = 3, entries: Any = None, **options: Any) -> None:
    """Draw a legend below the axes, of their labels or of other (name, line) pairs.

    A figure of which it would take more than half becomes higher.

    Args:
        figure: Figure of the axes, of its final width.
        columns: Number of columns; fewer are drawn where so many are wider than the figure.
        entries: The pairs; labels of the axes if None.
        **options: Options of `Figure.legend`.
    """
    names, lines = zip(*entries, strict=True) if entries else ((), ())
    given = () if entries is None else (lines, names)
    for count in range(columns, 0, -1):
        how = {"loc": "outside lower center", "ncols": count, "frameon": False}
        legend = figure.legend(*given, **how, **options)
        _make_drawable(figure)
        if count == 1 or legend.get_window_extent().width <= figure.bbox.width:
            needed = figure.get_figheight() / 2 + legend.get_window_extent().height / figure.dpi
            figure.set_figheight(max(figure.get_figheight(), needed))
            return
        legend.remove()


def labelled(axes: Axes) -> list[tuple[str, Any]]:
    """Entries of the legend of some axes: names and lines."""
    lines, names = axes.get_legend_handles_labels()
    return list(zip(names, lines, strict=True))


MOST_DIRECT = 4
"""Number of lines up to which each is named at its end, and not in a legend."""


def name_lines(figure: Figure, axes: Axes, entries: Sequence[tuple[str, Line2D]]) -> None:
    """Name lines at their right ends, or in a legend below if there are many.

    A stroke in the line's colour leads from its end to its name. Names are black, so that those of
    pale lines can be read.

    Args:
        figure: Figure of the axes.
        axes: Axes with their final limits.
        entries: Names and lines; a line across the axes ends at their edge.
    """
    if len(entries) > MOST_DIRECT:
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
        stroke = {"arrowstyle": "-", "color": line.get_color(), "shrinkA": 1, "shrinkB": 2}
        where = edge if line.get_transform() == edge else "data"
        letters = {"va": "center", "fontsize": "small", "annotation_clip": False}
        places = {"xycoords": where, "textcoords": edge, "arrowprops": stroke}
        axes.annotate(name, (x, y), (1.045, height), **places, **letters)


LINE_ROOM = 0.075
"""Share of the axes' height that the name of a line needs."""


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
    ends = rows[["value", "low", "high"]].to_dict("records")
    name = style.get("label", "")
    texts = (
        f"{name}, {x} {at:,.0f}: {number(row['value'])} {interval(row)}"
        for at, row in zip(rows[x], ends, strict=True)
    )
    annotate(axes, rows[x], value, texts)


def alone(points: Sequence[Any] | np.ndarray) -> dict[str, Any]:
    """What a line through some points needs to be seen: a mark where there is one point alone."""
    return {"marker": "o", "markersize": 4} if len(points) == 1 else {}


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


NARROW = 0.3
"""Decades of an axis up to which its ticks are those of a linear one: a factor of 2."""


def few_decades(axis: Axis) -> None:
    """Let a logarithmic axis have more ticks than its powers of ten where those are fewer than two.

    Args:
        axis: Axis with its final limits; that of axes without a mark is left as it is.
    """
    ends = sorted(axis.get_view_interval())
    if ends[0] <= 0:  # matplotlib's limits where there is nothing to show
        return
    low, high = np.log10(ends)
    if high - low < NARROW:  # where equal steps are nearly equal factors
        axis.set_major_locator(MaxNLocator(3))
        return
    few = math.floor(high + 1e-9) - math.ceil(low - 1e-9) < 1
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,)))


def ratio_axis(axis: Axis) -> None:
    """Let a logarithmic axis show plain numbers: 0.5, 1, 20."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter("{x:,g}")
    axis.set_minor_formatter(NullFormatter())


def step_axis(axes: Axes, ticks: int = 6) -> None:
    """Let the x axis show training steps, with at most this number of ticks."""
    axes.xaxis.set_major_locator(MaxNLocator(ticks, integer=True))
    axes.xaxis.set_major_formatter("{x:,.0f}")


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


def draw_cells(axes: Axes, cells: pd.DataFrame, title: str, scale: ScalarMappable = SHARES) -> None:
    """Draw a table as coloured cells with numbers; a grey hatched cell has no value.

    Args:
        axes: Axes to draw on.
        cells: Numbers by their lines and columns; NaN where there is none.
        title: Title of the axes.
        scale: Colours of the numbers.
    """
    axes.set_title(title, loc="left")
    values = cells.to_numpy()
    axes.imshow(np.ma.masked_invalid(values), cmap=scale.cmap, norm=scale.norm, aspect="auto")
    axes.patch.set(facecolor="#e6e6e6", hatch="////", edgecolor="#a0a0a0", linewidth=0)
    for (y, x), value in np.ndenumerate(values):
        if not math.isnan(value):
            ink = ink_on(scale.to_rgba(value))
            axes.text(x, y, number(value), ha="center", va="center", color=ink, fontsize="small")
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
