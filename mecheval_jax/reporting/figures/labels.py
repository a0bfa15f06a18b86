"""Labels of points in a scatter that do not cover one another."""

import itertools
import textwrap
from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from mecheval_jax.reporting.figures.drawing import LETTER, STROKE_GREY
from mecheval_jax.reporting.figures.legends import SMALL
from mecheval_jax.reporting.figures.look import look

MOST_NAMES = 12
"""Number of points above which they are numbered, and a list beside the axes names them."""

MOST_LETTERS = 24
"""Letters of a name above which a number stands beside the point."""

BESIDE = 6.0
"""Letters of a name for each inch of a figure above which a number stands beside the point."""

LONGEST_LINE = 60
"""Letters in a line of a list beside the axes."""

LIST_WIDTH = 3.2
"""Inches beside the axes that a list of names has at least."""

NEAR = 0.025
"""Points closer than this, as a share of the axes, share one label."""

NUMBERS_WIDTH = 24
"""Characters of a line in a label of numbers."""

HALO = (withStroke(linewidth=3, foreground="white"),)
"""White outline that keeps a text readable on lines."""

_GAPS = (12, 24, 48, 84, 132)  # pixels at 100 dpi between a point and its label
_DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))


def short_names(figure: Figure, names: Iterable[str]) -> dict[str, str]:
    """What stands beside the points of these names: the names or, of many or long ones, numbers.

    A list beside the axes then says whose the numbers are, once for all panels of the figure. In a
    figure whose width is prescribed it stands above them.

    Args:
        figure: Figure of the points, of its final size but for the list.
        names: Names of the points of all panels.
    """
    once = list(dict.fromkeys(names))
    room = min(MOST_LETTERS, BESIDE * figure.get_figwidth())
    if len(once) <= MOST_NAMES and max(map(len, once), default=0) <= room:
        return {name: name for name in once}
    numbered = {name: str(number) for number, name in enumerate(once, 1)}
    _list(figure, [f"{number}  {name}" for name, number in numbered.items()])
    return numbered


def place_labels(
    axes: Axes, names: Sequence[str], points: np.ndarray, obstacles: Sequence[Artist]
) -> None:
    """Write every point's name beside it, clear of the points, obstacles and other names.

    Points that lie together share a label of several lines.

    Args:
        axes: Axes with their final limits.
        names: Names of the points, one each, as `short_names` gives them.
        points: Places of the points, [points, 2] in data units.
        obstacles: Texts and lines that stay in place.
    """
    figure = axes.figure
    figure.draw_without_rendering()  # the layout fixes sizes, which the placing needs
    renderer = figure.canvas.get_renderer()
    pixels = axes.transData.transform(points)
    taken = [_extent(each, renderer).padded(1) for each in obstacles]
    taken += [Bbox.from_bounds(x - 6, y - 6, 12, 12) for x, y in pixels]
    inside = axes.get_window_extent(renderer).frozen()
    fractions = axes.transAxes.inverted().transform(pixels)
    near = np.abs(fractions[:, None] - fractions).max(axis=-1) < NEAR
    first = np.array([row.argmax() for row in near], int)  # the first point of each one's cluster
    for members in (np.flatnonzero(first == one) for one in np.unique(first)):
        words = [names[index] for index in members]
        numbers = textwrap.fill(", ".join(words), NUMBERS_WIDTH)
        text = numbers if all(map(str.isdigit, words)) else "\n".join(words)
        place = {"xytext": (0, 0), "textcoords": "offset points", "va": "bottom"}
        letters = {"fontsize": "small", "path_effects": HALO, "zorder": 5}
        label = axes.annotate(text, points[members].mean(axis=0), **place, **letters)
        _settle(label, pixels[members].mean(axis=0), taken, inside, renderer)


def _list(figure: Figure, lines: Sequence[str]) -> None:
    """Write lines beside the axes, which keep their size, or above them to keep the width."""
    width, height = figure.get_size_inches()
    letter = LETTER * SMALL * look().font_size / 72
    most = LONGEST_LINE if look().width is None else int(0.9 * width / letter)
    lines = [part for line in lines for part in textwrap.wrap(line, most, subsequent_indent="    ")]
    text = figure.text(0.01, 0.5, "\n".join(lines), va="center", fontsize="small")
    needed = text.get_window_extent()
    wide, high = needed.width / figure.dpi, needed.height / figure.dpi
    if look().width is None:
        whole = width + max(LIST_WIDTH, wide + 0.2)
        figure.set_size_inches(whole, max(height, 0.5 + 0.17 * len(lines)))
        figure.get_layout_engine().set(rect=(0, 0, width / whole, 1))
        text.set_x(width / whole + 0.01)
    else:
        whole = height + high + 0.2
        figure.set_size_inches(width, whole)
        figure.get_layout_engine().set(rect=(0, 0, 1, height / whole))
        text.set_y((height + whole) / (2 * whole))


def _settle(
    label: Annotation, point: np.ndarray, taken: list[Bbox], inside: Bbox, renderer: RendererAgg
) -> None:
    """Move a label to the nearest free place; the least covered one if none is free."""
    width, height = label.get_window_extent(renderer).size

    def covered(place: tuple[float, Bbox]) -> int:
        box = place[1]
        outside = width * height - _overlap(box, inside)
        # In whole pixels, so that rounding errors do not let a farther free place win.
        return round(sum(_overlap(box, other) for other in taken) + outside)

    places = []
    for gap, (x, y) in itertools.product(_GAPS, _DIRECTIONS):
        left = point[0] + x * gap - width * (1 - x) / 2
        bottom = point[1] + y * gap - height * (1 - y) / 2
        places.append((gap, Bbox.from_bounds(left, bottom, width, height)))
    gap, box = min(places, key=covered)
    taken.append(box)
    # Offsets are in points, which unlike pixels do not depend on the resolution.
    scale = 72 / label.axes.figure.dpi
    label.set_position(((box.x0 - point[0]) * scale, (box.y0 - point[1]) * scale))
    if gap > _GAPS[1]:
        centre = ((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2)
        ends = label.axes.transData.inverted().transform([point, centre])
        label.axes.plot(*ends.T, color=STROKE_GREY, linewidth=0.6, zorder=2)


def _extent(artist: Artist, renderer: RendererAgg) -> Bbox:
    """The pixels that a text, a line or the bars of errors take."""
    if isinstance(artist, LineCollection):  # of which matplotlib gives the origin alone
        ends = artist.get_transform().transform(np.concatenate(artist.get_segments()))
        return Bbox([ends.min(axis=0), ends.max(axis=0)])
    return artist.get_window_extent(renderer)


def _overlap(one: Bbox, other: Bbox) -> float:
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    return max(width, 0) * max(height, 0)
