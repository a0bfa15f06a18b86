"""Figures of several models of one task: accuracy against width, and against costs."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, NullFormatter

from mecheval_jax.reporting.figures import drawing, legends, scales
from mecheval_jax.reporting.figures.drawing import DARK_GREY, FLOOR
from mecheval_jax.reporting.figures.labels import place_labels, short_names
from mecheval_jax.reporting.figures.look import styled
from mecheval_jax.reporting.numbers import percent, quantity
from mecheval_jax.reporting.words import COST_TITLES
from mecheval_jax.store.choice import COSTS, front_of

LABELS = {
    "training": ("s a token", "time a token"),
    "prefill": ("s", "time a document"),
    "decode": ("s a token", "time a token"),
    "state": ("B", "size"),
}
"""Unit and label of each cost of ``choice.csv``."""

HOLLOW = {"color": DARK_GREY, "marker": "o", "markerfacecolor": "none", "linestyle": "none"}
"""Style of a hollow mark in a legend, which stands for those of all colours."""

APART = 0.035
"""Offset between models of one width, as a share of a doubling of the width."""


@styled
def accuracy_by_width(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Accuracy of every model over its width, with its interval; a line joins the best ones.

    Hollow marks are published values. Models that were asked other documents, which are easier or
    harder, have a panel of their own.

    Args:
        rows: For each model its ``run``, ``mixer``, ``width``, ``accuracy`` with ``accuracy_low``
            and ``accuracy_high``, ``floor`` and, if there are any, ``published`` and ``task``, the
            title of the documents that it was asked.
    """
    table = pd.DataFrame(list(rows))
    table["task"] = table.get("task", "")
    table["published"] = table.get("published", pd.Series(np.nan, table.index)).astype(float)
    tasks = list(table["task"].unique())
    across = drawing.across(len(tasks))
    size = (7.2, 4.2) if len(tasks) == 1 else (4.2 * across, 3.4 * math.ceil(len(tasks) / across))
    figure, every = drawing.panels(len(tasks), across, *size)
    styles, entries = drawing.mixer_styles(table["mixer"]), dict[str, Line2D]()
    for axes, task in zip(every, tasks, strict=True):
        own = table[table["task"] == task]
        entries = _models_by_width(axes, own, styles) | entries
        axes.set_title(task, loc="left")
        floor = own["floor"].astype(float).max()
        if not pd.isna(floor):
            name = f"floor, {floor:.1%}" if len(tasks) == 1 else "floor"
            entries[name] = entries.pop(name, axes.axhline(floor, **FLOOR, zorder=1))
    # The names of all.
    if table["published"].notna().any():
        entries["hollow: published"] = Line2D([], [], **HOLLOW)
    if len(tasks) == 1:
        legends.name_lines(figure, every[0], list(entries.items()))
    else:
        legends.legend_below(figure, entries=list(entries.items()))
    return figure


def _models_by_width(
    axes: Axes, table: pd.DataFrame, styles: Mapping[str, dict[str, str]]
) -> dict[str, Line2D]:
    """Draw the models of one task, and the axes; gives the line of each architecture."""
    mixers, widths = list(table["mixer"].unique()), sorted(set(table["width"]))
    entries = {}
    # Every model beside those of its width, and the line of each architecture.
    for index, mixer in enumerate(mixers):
        own = table[table["mixer"] == mixer].sort_values(["width", "accuracy"])
        style = styles[mixer]
        x = own["width"] * 2 ** (APART * (index - (len(mixers) - 1) / 2) * 2)
        ends = drawing.around(own["accuracy"], own["accuracy_low"], own["accuracy_high"])
        mark = {"linestyle": "none", "capsize": 2, "elinewidth": 1}
        axes.errorbar(x, own["accuracy"], ends, markersize=5, **mark, **style)
        best = own.drop_duplicates("width", keep="last")
        line = {"linewidth": 1.5, "markersize": 5}
        (entries[mixer],) = axes.plot(x[best.index], best["accuracy"], **line, **style)
        axes.plot(x, own["published"], **style | {"linestyle": "none"},
                  markersize=9, markerfacecolor="none", zorder=4)  # fmt: skip
        drawing.annotate(axes, x, own["accuracy"], map(_model, own.to_dict("records")))
    axes.set(xlabel="width", ylabel="accuracy")
    axes.set_xscale("log", base=2)
    scales.spaced_ticks(axes, widths, [str(width) for width in widths])
    scales.accuracy_axis(axes)
    return entries


def _model(row: Mapping[str, Any]) -> str:
    ends = f"[{percent(row['accuracy_low'])}, {percent(row['accuracy_high'])}]"
    return f"{row['run']}: {percent(row['accuracy'])} {ends}"


@styled
def cost_against_accuracy(choice: pd.DataFrame) -> Figure:
    """Accuracy of every shape over its costs, a panel for each cost; cheap is at the left.

    A mark is filled if the shape has learned, and no other that has is at least as good in both and
    better in one of the two.

    Args:
        choice: Rows of ``choice.csv``.
    """
    shown = [name for name, column in COSTS.items() if choice[column].notna().any()]
    figure, every = drawing.panels(len(shown), 2, 8.4, 3.6 * ((len(shown) + 1) // 2))
    styles, placed = drawing.mixer_styles(choice["mixer"]), []
    bars = {"capsize": 2, "elinewidth": 1, "markersize": 7, "linestyle": "none"}
    for axes, name in zip(every, shown, strict=True):
        column, front, (unit, label) = COSTS[name], front_of(name), LABELS[name]
        rows, taken = choice.dropna(subset=[column, "accuracy"]), list[Artist]()
        for row in rows.to_dict("records"):
            style = styles[row["mixer"]]
            mark = {} if row[front] else {"markerfacecolor": "white"}
            ends = drawing.around(row["accuracy"], row["low"], row["high"])
            across = _around(row, column)
            look = bars | style | mark
            taken += axes.errorbar(row[column], row["accuracy"], ends, across, **look).lines[2]
        texts = [
            f"{shape}: {percent(y)}, {quantity(x, unit)}" for shape, x, y in _points(rows, column)
        ]
        drawing.annotate(axes, rows[column], rows["accuracy"], texts)
        floor = rows["floor"].max()
        if not pd.isna(floor):
            taken.append(axes.axhline(floor, **FLOOR, zorder=1))
        _cost_axis(axes, unit, rows[column])
        axes.set_xlabel(label)
        axes.set_title(COST_TITLES[name], loc="left")
        placed.append((axes, rows, column, taken))
    for axes in drawing.leftmost(every):
        axes.set_ylabel("accuracy")
    entries = [("hollow: not learned, or another is as good in both", Line2D([], [], **HOLLOW))]
    if choice["floor"].notna().any():
        entries.append(("best heuristic without recall", Line2D([], [], **FLOOR)))
    legends.legend_below(figure, 2, entries)
    # The legend and a list of names are part of the layout, which the places of labels depend on.
    named = [[name for name, *_ in _points(rows, column)] for _, rows, column, _ in placed]
    short = short_names(figure, itertools.chain.from_iterable(named))
    for names, (axes, rows, column, taken) in zip(named, placed, strict=True):
        points = rows[[column, "accuracy"]].to_numpy(float)
        place_labels(axes, [short[name] for name in names], points, taken)
    return figure


def _points(rows: pd.DataFrame, column: str) -> list[tuple[str, float, float]]:
    """Name, cost and accuracy of each shape."""
    columns = ["mixer", "width", column, "accuracy"]
    return [(f"{m} {w}", x, y) for m, w, x, y in rows[columns].itertuples(index=False)]


def _around(row: Mapping[str, Any], column: str) -> np.ndarray | None:
    low, high = row.get(f"{column}_low"), row.get(f"{column}_high")
    known = not any(value is None or pd.isna(value) for value in (low, high))
    return drawing.around(row[column], low, high) if known else None


def _cost_axis(axes: Axes, unit: str, costs: pd.Series) -> None:
    """A logarithmic axis of costs, and one of accuracies.

    Where a cost is 0, as the state of a mixer that has none, the axis is linear up to the smallest
    of the others.
    """
    scales.accuracy_axis(axes)
    axes.margins(x=0.25)
    if (costs == 0).any():
        some, values = costs[costs > 0].min(), sorted(set(costs))
        if len(values) > 1:
            axes.set_xscale("symlog", linthresh=some, linscale=0.5)
        scales.spaced_ticks(axes, values, [quantity(value, unit) for value in values])
        return
    axes.set_xscale("log")
    # At least a factor of 2: costs that are almost equal should not lie at opposite ends.
    low, high = axes.get_xlim()
    middle = math.sqrt(low * high)
    axes.set_xlim(min(low, middle / 2**0.5), max(high, middle * 2**0.5))
    scales.few_decades(axes.xaxis)
    axes.xaxis.set_major_formatter(EngFormatter(unit.partition(" ")[0]))
    axes.xaxis.set_minor_formatter(NullFormatter())
