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
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import Formatter

from mecheval_jax.console import printable
from mecheval_jax.reporting.figures.ink import ink_on
from mecheval_jax.reporting.figures.look import look
from mecheval_jax.reporting.numbers import interval, number

# Okabe and Ito's colours, which the colour-blind can tell apart; their yellow is too pale
# for a line on white.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GREY = "#909090"
"""Colour of everything that is shown for comparison only."""

DARK_GREY = "#555555"
"""Colour of floors, of remarks, and of what stands in a legend for marks of any colour."""

STROKE_GREY = "#b0b0b0"
"""Colour of strokes from a mark to its name."""

LINE_GREY = "#d0d0d0"
"""Colour of lines at values such as 0, behind what is measured."""

CHANGE, ON_CHANGE = "#f0d9a0", "#6b5200"
"""Colours of the steps between which something was learned, and of words on that ground."""

FLOOR = {"color": DARK_GREY, "linestyle": "--", "linewidth": 1.2}
"""Style of the line of the best heuristic without recall."""

MARK = {"linestyle": "none", "markersize": 6, "markeredgecolor": "white", "markeredgewidth": 0.5}
"""Style of marks without lines."""


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
        make_drawable(self)
        _fit_titles(self, renderer)
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


def make_drawable(figure: Figure) -> None:
    """Spell out in all texts of a figure what cannot be drawn."""
    for text in figure.findobj(Text):
        text.set_text(_drawable(text.get_text()))
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        # The texts of ticks are made anew, by these.
        for formatter in (axis.get_major_formatter(), axis.get_minor_formatter()):
            formatter.format_ticks = functools.partial(_drawable_ticks, formatter)


def _fit_titles(figure: Figure, renderer: Any) -> None:
    """Break titles and names of axes that are longer than the place of their axes."""
    width, height = figure.get_size_inches()
    engine = figure.get_layout_engine()
    part = engine.get().get("rect", (0, 0, 1, 1)) if engine else (0, 0, 1, 1)
    height -= sum(legend.get_window_extent().height for legend in figure.legends) / figure.dpi
    for axes in figure.axes:
        place = axes.get_subplotspec()
        if place is None or not axes.axison:  # a scale of colours, or an empty place
            continue
        rows, columns = place.get_gridspec().get_geometry()
        wide, high = part[2] * width / columns, part[3] * height / rows
        _break_lines(axes.xaxis.label, wide)
        _break_lines(axes.yaxis.label, high)
        # A title begins where the axes do, right of the names of their lines.
        names = axes.yaxis.get_tightbbox(renderer)
        taken = names.width / figure.dpi if names else 0.0
        for title in (axes.title, axes._left_title):
            _break_lines(title, wide - taken)


def _break_lines(text: Text, room: float) -> None:
    """Break a text into lines of about this many inches."""
    letters = max(12, int(0.95 * room * 72 / (LETTER * float(text.get_fontsize()))))
    lines = text.get_text().split("\n")
    if max(map(len, lines)) > letters:
        text.set_text("\n".join(textwrap.fill(line, letters) for line in lines))


LETTER = 0.56
"""Width of a letter in sizes of the font, on the average of English texts."""


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


def colour_and_sparse_marks(index: int) -> dict[str, Any]:
    """Style of one curve among many: from the second round of the colours on it has a few marks."""
    lap, place = divmod(index, len(COLOURS))
    style = {"color": COLOURS[place]}
    if lap == 0:
        return style
    # At equal distances on the page, however many points it has, and not on those of the next.
    some = {"markevery": (0.02 * place, 0.16), "markersize": 6, "markeredgecolor": "white"}
    return style | some | {"marker": MARKERS[lap % len(MARKERS)], "markeredgewidth": 0.5}


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


ENOUGH = 0.7
"""Share of the width and height of axes that is enough for their letters."""


def panels(
    count: int, across: int, width: float, height: float, **options: Any
) -> tuple[Figure, list[Axes]]:
    """A figure of a size in inches, and its axes in reading order.

    Where a width is prescribed, a row has as many axes as there is room for in letters of the
    prescribed size, and the figure is as high as its rows need.

    Args:
        count: Number of axes; at least 1.
        across: Largest number of axes in a row; unused places in the last row stay empty.
        width: Width of the figure.
        height: Height of the figure.
        **options: Options of `Figure.subplots`.
    """
    rows, whole = math.ceil(count / across), look().width
    if whole is not None:
        side, row = width / across, height / rows
        least = ENOUGH * look().font_size / 10  # of the size for letters of 10 points
        across = min(max(int(whole / (least * side)), 1), across)
        rows = math.ceil(count / across)
        width, height = whole, rows * row * max(whole / across / side, least)
    figure = Drawing(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, across, squeeze=False, **options)
    for axes in grid.flat[count:]:
        axes.set_axis_off()
    return figure, list(grid.flat[:count])


def one_axes(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure of a size in inches with one pair of axes."""
    figure, (axes,) = panels(1, 1, width, height)
    return figure, axes


def leftmost(panels: Iterable[Axes]) -> list[Axes]:
    """The first of each row of panels."""
    return [axes for axes in panels if _place(axes)[1] == 0]


def lowest(panels: Iterable[Axes]) -> list[Axes]:
    """The last of each column of panels."""
    return list({_place(axes)[1]: axes for axes in panels}.values())


def _place(axes: Axes) -> tuple[int, int]:
    """Row and column of axes among the panels of their figure."""
    place = axes.get_subplotspec()
    return (place.rowspan.start, place.colspan.start) if place else (0, 0)


def headline(figure: Figure, text: str) -> None:
    """Draw a title over all panels, in as many lines as the width of the figure requires."""
    letters = figure.get_figwidth() * 72 / (0.75 * look().font_size)
    lines = textwrap.wrap(text, max(12, int(letters)))
    figure.suptitle("\n".join(lines), fontsize="large")
    if look().width is not None:  # the height has room for one line
        more = (len(lines) - 1) * 1.45 * look().font_size / 72
        figure.set_figheight(figure.get_figheight() + more)


def across(count: int) -> int:
    """Number of panels in a row, so that rows are full: three of six, two of four."""
    return min(count, 2 if count in (2, 4) else 3) or 1


NARROW = 4.5
"""Inches of a prescribed width up to which a scale of colours stands below the axes."""

BAR = 0.8
"""Length of a scale of colours, as a share of the axes that it stands beside."""

BAR_WIDTH = 0.3
"""Inches that a scale of colours is wide at most."""


def colour_bar(
    figure: Figure, axes: Sequence[Axes], scale: ScalarMappable, label: str, **options: Any
) -> None:
    """Draw the scale of colours that several axes share, beside them; below narrow ones."""
    if (look().width or math.inf) <= NARROW:
        options |= {"location": "bottom", "aspect": 30}
    else:
        slender = BAR * figure.get_figheight() / BAR_WIDTH
        options["aspect"] = max(options.get("aspect", 20), slender)
    bar = figure.colorbar(scale, ax=list(axes), shrink=BAR, **options)
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
