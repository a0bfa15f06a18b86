"""Figures as files, and as parts of a page.

The same data give the same files, byte for byte.
"""

import io
import math
import pathlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

import matplotlib
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text

from mecheval_jax.console import printable
from mecheval_jax.files import make_folder, write_bytes
from mecheval_jax.reporting.figures import drawing, scales, second_process
from mecheval_jax.reporting.figures.drawing import MOST_NOTES, Drawing, Note
from mecheval_jax.reporting.figures.look import Look, look, looking, styled

_OPTIONS: dict[str, dict[str, Any]] = {
    "png": {"dpi": 150, "metadata": {"Software": None}},
    "pdf": {"metadata": dict.fromkeys(("CreationDate", "Creator", "Producer"))},
    "svg": {"metadata": dict.fromkeys(("Date", "Creator", "Format", "Type"))},
}
"""Options of each format, which leave out times and other changing parts."""


def save(figure: Figure, folder: pathlib.Path, name: str) -> pathlib.Path:
    """Write a figure in the formats of the current `look`; returns the path of that as SVG."""
    make_folder(folder)
    for_page = [kind for kind in look().formats if kind == "svg"]
    for_paper = [kind for kind in look().formats if kind != "svg"]
    # The SVG settles the layout: with and without a second process, and where it is not wanted.
    _write(figure, folder / name, for_page, look())
    if not for_page:
        styled(_rendered)(figure, "svg")
    if for_paper:
        second_process.later(_write, figure, folder / name, for_paper, look())
    return folder / f"{name}.svg"


def _write(figure: Figure, path: pathlib.Path, kinds: Sequence[str], prescribed: Look) -> None:
    """Write a figure in some formats, whose endings follow the path."""
    with looking(prescribed):
        for kind in kinds:
            # Written atomically: another shard of a sweep may draw and read the same figure.
            write_bytes(path.with_name(f"{path.name}.{kind}"), styled(_rendered)(figure, kind))


def _rendered(figure: Figure, kind: str) -> bytes:
    drawn = io.BytesIO()
    figure.savefig(drawn, format=kind, **_OPTIONS[kind])
    # The layout is final, and equal in all formats. Under an engine, even one called "none",
    # every figure would be drawn twice, the first time for its layout.
    with matplotlib.rc_context({"figure.constrained_layout.use": False}):
        figure.set_layout_engine(None)
    return drawn.getvalue()


def picture(
    figure: Figure, folder: pathlib.Path, name: str, prefix: str, description: str
) -> Markup:
    """Save a figure, and turn it into a part of an HTML page; see `save` and `inline`."""
    save(figure, folder, name)
    return inline(figure, prefix, description)


IN_PAGE = {
    to_hex("white"): "page",
    to_hex("black"): "ink",
    scales.PALE: "line",
    drawing.LINE_GREY: "line",
    drawing.DARK_GREY: "soft",
    drawing.GREY: "soft",
    drawing.STROKE_GREY: "soft",
    drawing.ON_CHANGE: "warn-ink",
    drawing.CHANGE: "rise",
    drawing.COLOURS[0]: "blue",
    drawing.COLOURS[1]: "red",
    drawing.COLOURS[2]: "green",
}
"""Colours that become the page's own, since they differ on a dark page."""


@styled
def inline(figure: Figure, prefix: str, description: str) -> Markup:
    """A figure as a part of an HTML page: its texts are text, its greys the page's own.

    The figure itself loses the halos of its texts and its ground.

    Args:
        figure: Figure to show.
        prefix: Text before its ids, so that figures on one page do not share any.
        description: What the figure is of, for screen readers; `described` adds what it shows.
    """
    description = described(figure, description)
    for index, text in enumerate(figure.findobj(Text)):
        # A text with effects is drawn as outlines; the page's style has a halo instead.
        if text.get_path_effects():
            text.set(path_effects=(), gid=f"halo{index}")
    # Without a ground of its own a figure lets through the shadow at an edge behind which it goes
    # on. A hatched ground has a meaning, and stays.
    for ground in (figure.patch, *(axes.patch for axes in figure.axes)):
        ground.set_visible(ground.get_hatch() is not None)
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        svg = _rendered(figure, "svg").decode()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<!--.*?-->\s*|<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    # Tags alone: what a label says is never changed. Texts have no < of their own in an SVG.
    svg = re.sub(r"<[^<>]*>", lambda tag: _tag_of_the_page(tag[0], prefix), svg)
    marks = "".join(_marks(figure))
    # Matplotlib escapes all texts; the rest of the file is its own markup.
    svg = svg.replace("<svg", f'<svg role="img" aria-label="{escape(description)}"', 1)
    return Markup(svg.replace("</svg>", f"{marks}</svg>"))


SPOKEN = 12
"""Number of marks whose notes are part of a figure's description; the tables have all."""


def described(figure: Figure, title: str) -> str:
    """A figure in words, in place of the picture: its axes, its series, and values of its marks."""
    says = [title]
    for axes in figure.axes:
        x, y = axes.get_xlabel() or figure.get_supxlabel(), axes.get_ylabel()
        against = " against ".join(filter(None, (y, x)))
        names = dict.fromkeys(_named(axes))
        title_of_panel = axes.get_title() or axes.get_title("left")
        parts = (title_of_panel, against, f"with {', '.join(names)}" if names else "")
        says.append(", ".join(filter(None, parts)))
    notes = [note.text for note in _notes(figure)]
    more = [f"and {len(notes) - SPOKEN:,} more marks"] if len(notes) > SPOKEN else []
    says.append("; ".join(notes[:SPOKEN] + more))
    return ". ".join(" ".join(printable(one).split()) for one in says if one)


def _named(axes: Axes) -> Iterator[str]:
    """Names of series: labels beside their marks, and those of a legend; no numbers of cells."""
    legend = axes.get_legend()
    for text in (*axes.texts, *(legend.get_texts() if legend else ())):
        if any(letter.isalpha() for letter in text.get_text()):
            yield text.get_text().strip()


def _tag_of_the_page(tag: str, prefix: str) -> str:
    """A tag with ids that are the figure's own, and colours that are the page's."""
    tag = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{prefix}-", tag)
    tag = re.sub(r'\s+xmlns(:\w+)?="[^"]*"', "", tag)  # HTML knows the namespaces
    return re.sub(r"(?<=: )#[0-9a-f]{6}\b", _of_the_page, tag)


def _of_the_page(colour: re.Match) -> str:
    name = IN_PAGE.get(colour[0])
    return f"var(--{name})" if name else colour[0]


def _notes(figure: Figure) -> Sequence[Note]:
    return figure.notes if isinstance(figure, Drawing) else ()


def _marks(figure: Figure) -> Iterator[str]:
    """A circle for each note, or for some of many, at its place in the SVG."""
    height, notes = figure.get_figheight(), _notes(figure)
    for note in notes[:: math.ceil(len(notes) / MOST_NOTES) or 1]:
        x, y = note.axes.transData.transform((note.x, note.y)) / figure.dpi
        if math.isfinite(x) and math.isfinite(y):
            place = f'cx="{72 * x:.1f}" cy="{72 * (height - y):.1f}"'
            text, title = escape(note.text), f"<title>{escape(note.text)}</title>"
            yield f'<circle class="note" {place} r="6" data-note="{text}">{title}</circle>'
