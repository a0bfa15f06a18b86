"""How every figure looks, and how it is saved.

Figures are drawn through matplotlib's objects, without pyplot: no global figures, no
display. The same data give the same SVG, byte for byte.
"""

import functools
import io
import pathlib
import re
from collections.abc import Callable

import matplotlib
import numpy as np
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from mecheval_jax.files import write_bytes

# Okabe and Ito's colours, which the colour-blind can tell apart; their yellow is too pale
# for a line on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

_STYLE = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same everywhere
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
    """Decorator: draw in this style, whatever the user's matplotlib is set to."""

    @functools.wraps(draw)
    def drawn(*arguments, **options):
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
        # Whole or not at all: another shard of a sweep may draw, and read, the same.
        write_bytes(folder / f"{name}.{options['format']}", drawn.getvalue())
    return folder / f"{name}.svg"


def one_axes(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure of so many inches with one pair of axes."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots()


def accuracy_axis(axes: Axes) -> None:
    """Let the y axis show accuracies, 0 to 100 %."""
    axes.set_ylim(-0.02, 1.02)
    axes.set_yticks(np.linspace(0, 1, 6))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.grid(axis="y", color="#e0e0e0", linewidth=0.8)


def step_axis(axes: Axes, ticks: int = 6) -> None:
    """Let the x axis show training steps, with so many numbers at most."""
    axes.xaxis.set_major_locator(MaxNLocator(ticks, integer=True))
    axes.xaxis.set_major_formatter(lambda step, _: f"{step:,.0f}")


def inline(path: pathlib.Path, prefix: str, description: str) -> Markup:
    """A saved SVG as a part of an HTML page.

    Args:
        path: of the SVG.
        prefix: set before its ids, so that the figures of a page do not share any.
        description: read out in place of the picture.
    """
    svg = path.read_text(encoding="utf-8")
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{prefix}-", svg)
    svg = re.sub(r'\s+xmlns(:\w+)?="[^"]*"', "", svg)  # HTML knows the namespaces
    svg = re.sub(r"<!--.*?-->\s*", "", svg, flags=re.DOTALL)
    # Matplotlib escapes every text it writes; what stands here is its own markup.
    return Markup(svg.replace("<svg", f'<svg role="img" aria-label="{escape(description)}"', 1))
