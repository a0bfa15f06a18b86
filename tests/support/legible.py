"""What eyes would find wrong in a figure: text that is cut off, too small, or on other text.

`every_figure` is a fixture that looks at each figure which a test draws.
"""

import itertools
from collections.abc import Iterable

import pytest
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from mecheval_jax.reporting.figures.drawing import Drawing

SMALLEST = 6.0
"""Least size of a text, in points."""

TOUCH = 1.0
"""Pixels by which two texts may overlap, since boxes are a little larger than letters."""


@pytest.fixture(autouse=True)
def every_figure(monkeypatch):
    """Check every figure that a test draws, at its end."""
    drawn, make = [], Drawing.__init__

    def remember(self, *arguments, **options):
        make(self, *arguments, **options)
        drawn.append(self)

    monkeypatch.setattr(Drawing, "__init__", remember)
    yield
    faults = [fault for figure in drawn if figure.axes for fault in faults_of(figure)]
    assert not faults, faults


def faults_of(figure: Figure) -> list[str]:
    """What is wrong with the texts of a figure, in words."""
    figure.draw_without_rendering()
    hidden = {
        text for axes in figure.axes for axis in (axes.xaxis, axes.yaxis) for text in _beyond(axis)
    }
    shown = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text()]
    shown = [text for text in shown if text not in hidden]
    # Of an annotation without its arrow.
    boxes = {text: Text.get_window_extent(text) for text in shown}
    whole = figure.bbox.padded(TOUCH)
    faults = [
        f"{text.get_text()!r} is cut off"
        for text, box in boxes.items()
        if box.width and not (whole.contains(*box.min) and whole.contains(*box.max))
    ]
    faults += [
        f"{text.get_text()!r} is of {text.get_fontsize():g} points"
        for text in shown
        if text.get_fontsize() < SMALLEST
    ]
    upright = [text for text in shown if text.get_rotation() % 90 == 0]
    return faults + list(_covered({text: boxes[text] for text in upright}))


def _beyond(axis: Axis) -> Iterable[Text]:
    """Labels of ticks beyond the ends of an axis, which are not drawn."""
    low, high = sorted(axis.get_view_interval())
    for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
        if not low <= tick.get_loc() <= high:
            yield from (tick.label1, tick.label2)


def _covered(boxes: dict[Text, Bbox]) -> Iterable[str]:
    """Texts that lie on others; those at an angle have boxes that say nothing."""
    for (one, box), (other, second) in itertools.combinations(boxes.items(), 2):
        width = min(box.x1, second.x1) - max(box.x0, second.x0)
        height = min(box.y1, second.y1) - max(box.y0, second.y0)
        if min(width, height) > TOUCH:
            yield f"{one.get_text()!r} covers {other.get_text()!r}"
