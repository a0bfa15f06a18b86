"""Shares of many models, a line for each: what a table says, to look at."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from mecheval_jax.evaluation.verdict.rule import CLASSES
from mecheval_jax.reporting.figures import drawing, legends, scales
from mecheval_jax.reporting.figures.look import styled
from mecheval_jax.reporting.figures.sweep_figures import beside, verdict_colour
from mecheval_jax.reporting.numbers import percent, percents

SPREAD = 0.55
"""Part of a line over which its marks are spread."""


@styled
def dots_in_lines(table: pd.DataFrame) -> Figure:
    """Shares with their intervals: a line for each name, a panel for each quantity.

    Args:
        table: Rows with ``name`` (of the line), ``panel`` (title of the quantity), ``kind`` (what
            colours and marks tell apart, such as a layer or a class of verdicts), and ``value``,
            ``low`` and ``high``, shares or differences of shares; NaN draws no mark. Lines, panels
            and kinds are drawn in the order in which they occur.
    """
    names, titles, kinds = (list(dict.fromkeys(table[key])) for key in ("name", "panel", "kind"))
    size = 3.4 + 2.9 * len(titles), 1.5 + 0.3 * len(names)
    figure, panels = drawing.panels(len(titles), len(titles), *size, sharey=True)
    known, styles = table[table["value"].notna()], _styles(kinds)
    for axes, title in zip(panels, titles, strict=True):
        _draw_panel(axes, known[known["panel"] == title], names, styles)
        axes.set_title(title, loc="left")
    panels[0].set_yticks(range(len(names)), names, fontsize="small")
    panels[0].set_ylim(len(names) - 0.5, -0.5)
    entries = [(kind.replace("_", " "), Line2D([], [], **styles[kind])) for kind in kinds]
    legends.legend_below(figure, entries=entries)
    return figure


def _draw_panel(
    axes: Axes,
    shares: pd.DataFrame,
    names: Sequence[str],
    styles: Mapping[str, Mapping[str, Any]],
) -> None:
    """Draw one quantity; the lines are those of `names`, from the top."""
    for line, name in enumerate(names):
        rows = shares[shares["name"] == name].to_dict("records")
        places = line + SPREAD * beside(len(rows))
        for place, row in zip(places, rows, strict=True):
            ends = drawing.around(row["value"], row["low"], row["high"])
            style = styles[row["kind"]]
            axes.errorbar(row["value"], place, xerr=ends, elinewidth=1.2, **style)
            kind = row["kind"].replace("_", " ")
            note = f"{name}, {kind}: {percent(row['value'])} {percents(row)}"
            drawing.annotate(axes, [row["value"]], [place], [note])
        if line:
            axes.axhline(line - 0.5, color=scales.PALE, linewidth=0.5)
    if shares[["value", "low"]].min().min() < 0:  # differences
        axes.axvline(0, color=drawing.GREY, linewidth=0.8)
    else:
        axes.set_xlim(-0.03, max(1.03, shares["high"].max() + 0.03))
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    scales.pale_grid(axes, "x")
    axes.tick_params(axis="y", length=0)


def _styles(kinds: Sequence[str]) -> dict[str, dict[str, Any]]:
    """A colour and a mark for each kind; a verdict has its own colour, as in all figures."""
    verdicts = {kind: verdict_colour(kind) for kind in kinds if kind in CLASSES}
    # Other kinds take colours that no verdict has here; with many kinds they come round again.
    free = [colour for colour in drawing.COLOURS if colour not in verdicts.values()]
    colours = itertools.cycle(free or drawing.COLOURS)
    return {
        kind: drawing.MARK
        | drawing.colour_and_marker(index)
        | {"color": verdicts.get(kind) or next(colours)}
        for index, kind in enumerate(kinds)
    }
