"""The common look of all figures, and the settings that a paper or a talk may prescribe."""

import contextlib
import contextvars
import dataclasses
import functools
import multiprocessing
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import matplotlib
from matplotlib.font_manager import get_font_names

from mecheval_jax.console import say
from mecheval_jax.errors import UserError, choose

FORMATS = ("png", "svg", "pdf")
"""Formats of saved figures."""


@dataclasses.dataclass(frozen=True)
class Look:
    """Settings for a paper or a talk.

    Attributes:
        width: Width of every figure in inches, such as a column's; each figure's own if None.
        font: Name of a font that matplotlib finds.
        font_size: Size of most texts, in points.
        formats: Formats that figures are saved in, of `FORMATS`.
    """

    width: float | None = None
    font: str = "DejaVu Sans"  # part of matplotlib: the same on every machine
    font_size: float = 10.0
    formats: tuple[str, ...] = FORMATS

    def __post_init__(self):
        if self.font != "DejaVu Sans":
            choose("font", self.font, sorted(get_font_names()))
        for name in self.formats:
            choose("format", name, FORMATS)
        for name, value, low, high in (
            ("width", self.width, 1, 40),
            ("font_size", self.font_size, 3, 40),
        ):
            if value is not None and not low <= value <= high:
                raise UserError(f"figure {name} {value:g}: between {low} and {high}")


_PLAIN = Look()
_LOOK: contextvars.ContextVar[Look] = contextvars.ContextVar("look")

_STYLE = {
    "axes.titlesize": "medium",
    "axes.labelsize": "medium",
    "figure.titlesize": "large",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "hatch.linewidth": 0.6,
    "hatch.color": "#a0a0a0",
    "text.parse_math": False,  # a dollar sign in a run's name is a dollar sign
    "svg.hashsalt": "mecheval_jax",
    "svg.fonttype": "path",
    "pdf.fonttype": 42,
}


def look() -> Look:
    """The look of the current block."""
    return _LOOK.get(_PLAIN)


def formats() -> str:
    """The formats that figures are saved in, in words: "PNG, SVG and PDF"."""
    *others, last = (name.upper() for name in look().formats)
    return f"{', '.join(others)} and {last}" if others else last


@contextlib.contextmanager
def looking(prescribed: Look) -> Iterator[None]:
    """Draw all figures of a block with a prescribed look."""
    token = _LOOK.set(prescribed)
    try:
        yield
    finally:
        _LOOK.reset(token)


@contextlib.contextmanager
def _letters_told() -> Iterator[None]:
    """Say in one line that a font lacks letters, where matplotlib warns of each and its file."""

    def show(message: Warning | str, *where: Any) -> None:
        if "missing from" in str(message) and str(message).startswith("Glyph"):
            _say_missing(look().font)
        else:
            otherwise(message, *where)

    with warnings.catch_warnings():
        warnings.filterwarnings("always", "Glyph", UserWarning)
        otherwise, warnings.showwarning = warnings.showwarning, show
        yield


@functools.cache
def _say_missing(font: str) -> None:
    if multiprocessing.parent_process() is None:  # else this is a copy, and the other has said it
        say(f"{font} lacks letters of some names, which are boxes in figures: --font names another")


def styled(draw: Callable) -> Callable:
    """Decorator: draw in this style, regardless of the user's settings of matplotlib."""

    @functools.wraps(draw)
    def drawn(*arguments: Any, **options: Any) -> Any:
        fonts = {"font.family": look().font, "font.size": look().font_size}
        with matplotlib.rc_context(_STYLE | fonts), _letters_told():
            return draw(*arguments, **options)

    return drawn
