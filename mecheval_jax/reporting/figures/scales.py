"""Scales of axes: their ticks, and the grid that stands at them."""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import (
    LogLocator,
    MaxNLocator,
    NullFormatter,
    PercentFormatter,
)
from numpy.typing import ArrayLike

from mecheval_jax.reporting.figures.drawing import DARK_GREY
from mecheval_jax.reporting.figures.look import look

PALE = "#e0e0e0"
"""Colour of lines that are behind everything."""


def accuracy_axis(axes: Axes) -> None:
    """Let the y axis show accuracies, 0 to 100 %."""
    axes.set_ylim(-0.02, 1.02)
    axes.set_yticks(np.linspace(0, 1, 6))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    pale_grid(axes, "y")


def pale_grid(axes: Axes, axis: Literal["x", "y"]) -> None:
    """Draw pale lines across the axes at the ticks of one axis."""
    axes.grid(axis=axis, color=PALE, linewidth=0.8)


def few_decades(axis: Axis) -> None:
    """Let a logarithmic axis have more ticks than its powers of ten where those are fewer than two.

    Args:
        axis: Axis with its final limits; that of axes without a mark is left as it is.
    """
    ends = sorted(axis.get_view_interval())
    if ends[0] <= 0:  # matplotlib's limits where there is nothing to show
        return
    low, high = np.log10(ends)
    tens = 10.0 ** np.arange(math.floor(low), math.ceil(high) + 1)
    plain = np.outer(tens, (1, 2, 5))
    if ((plain >= ends[0]) & (plain <= ends[1])).sum() < 2:
        # Matplotlib would fall back to many ticks. Equal steps are nearly equal factors here.
        axis.set_major_locator(MaxNLocator(3))
        return
    few = math.floor(high + 1e-9) - math.ceil(low - 1e-9) < 1
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,)))


def ratio_axis(axis: Axis) -> None:
    """Let a logarithmic axis with its final limits show plain numbers: 0.5, 1, 20."""
    few_decades(axis)
    axis.set_major_formatter("{x:,g}")
    axis.set_minor_formatter(NullFormatter())


AXES = 0.8
"""Share of the width of a panel that its axes have."""

DIGIT = 0.64
"""Width of a digit in sizes of the font."""


def spaced_ticks(axes: Axes, places: Sequence[float], texts: Sequence[str]) -> None:
    """Let the x axis have ticks at ascending places, and texts where they do not touch.

    Args:
        axes: Axes with their final limits and scale.
        places: Places of the ticks.
        texts: What stands at each; from the first on those are left out that have no room.
    """
    figure, place = axes.figure, axes.get_subplotspec()
    columns = place.get_gridspec().ncols if place else 1
    inches = AXES * figure.get_figwidth() / columns
    low, high = axes.transScale.transform([(end, 1) for end in axes.get_xlim()])[:, 0]
    at = axes.transScale.transform([(one, 1) for one in places])[:, 0]
    at = (at - low) / ((high - low) or 1) * inches
    letter = DIGIT * look().font_size / 72
    shown, end = [], -math.inf
    for index, text in enumerate(texts):
        half = letter * len(text) / 2
        if at[index] - half > end:
            shown.append(index)
            end = at[index] + half + letter
    axes.set_xticks([places[index] for index in shown], [texts[index] for index in shown])
    axes.set_xticks(places, minor=True)
    axes.xaxis.set_minor_formatter(NullFormatter())


def step_axis(axes: Axes, ticks: int = 6) -> None:
    """Let the x axis show training steps, with at most this number of ticks."""
    axes.xaxis.set_major_locator(MaxNLocator(ticks, integer=True))
    axes.xaxis.set_major_formatter("{x:,.0f}")


def limits(
    values: ArrayLike, ends: ArrayLike, least: tuple[float, float]
) -> tuple[tuple[float, float], int]:
    """Limits that hold all values and the ends of their intervals.

    An end that is farther from the values than these are from one another is left outside: the
    values could not be told apart beside it.

    Args:
        values: Values; those that are not finite are left out.
        ends: Ends of intervals, as the values.
        least: Limits that are the narrowest ones.

    Returns:
        The limits, and the number of ends outside.
    """
    known, ends = (np.ravel(np.asarray(part, float)) for part in (values, ends))
    known, ends = known[np.isfinite(known)], ends[np.isfinite(ends)]
    low, high = known.min(initial=least[0]), known.max(initial=least[1])
    span = high - low
    near = ends[(ends >= low - span) & (ends <= high + span)]
    every = np.concatenate([known, near])
    low = min(least[0], every.min(initial=least[0] + span) - MARGIN * span)
    high = max(least[1], every.max(initial=least[1] - span) + MARGIN * span)
    return (float(low), float(high)), len(ends) - len(near)


MARGIN = 0.05
"""Share of the values' range that lies between the outermost and the edge of the axes."""


def say_outside(axes: Axes, ends: int) -> None:
    """Say in words, above the axes, how many ends of intervals lie outside."""
    if ends:
        many = "intervals go" if ends > 1 else "interval goes"
        text = f"{ends} {many} on outside"
        axes.set_title(text, loc="right", fontsize="small", color=DARK_GREY)
