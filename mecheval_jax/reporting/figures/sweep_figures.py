"""Figures of a sweep: accuracy by learning rate, success, learning curves and verdicts by shape.

Every shape has its own panel, or its own line of the y axis, under its title in the sweep.
"""

import math
import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from mecheval_jax.evaluation.verdict.rule import CLASSES, NOT_LEARNED
from mecheval_jax.reporting.figures import drawing, legends, scales
from mecheval_jax.reporting.figures.drawing import CHANGE, COLOURS, FLOOR, GREY
from mecheval_jax.reporting.figures.ink import ink_on
from mecheval_jax.reporting.figures.look import styled
from mecheval_jax.reporting.numbers import percent, percents
from mecheval_jax.store.metrics import Curves
from mecheval_jax.store.sweep_tables import wide

DIVERGED = {"color": COLOURS[1], "marker": "X", "markersize": 6, "linestyle": "none"}
MEMBER = {"color": COLOURS[0], "marker": "o", "markersize": 4, "linestyle": "none"}
MEDIAN = {"color": "black", "linewidth": 1.4, "marker": "_", "markersize": 14}
BEST = {"color": COLOURS[0], "linewidth": 2.0}
RISE = {"color": CHANGE, "linewidth": 0, "zorder": 0}
UNLEARNED = "#9a9a9a"
"""Colour of bars of members without a mechanism; unlike `GREY` it is the same on a dark page."""

UNKNOWN = "#c4c4c4"
"""Colour of bars of members whose verdict is no class of this version."""

COLUMNS = 3
"""Number of panels in a row."""

PANEL_TITLE, LINE_TITLE = 38, 30
"""Characters of a shape's title before a line break, above a panel and beside an axis."""

TICK_ROOM = 0.065
"""Share of the axis of learning rates that one number needs."""


@styled
def accuracy_by_rate(table: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """Accuracy of every member over its learning rate, with the median of each rate.

    Rates lie at their logarithms, and a rate of 0 a decade below the least other one. The members
    of a rate lie side by side in the order of their numbers, so that equal values are visible.

    Args:
        table: Rows of ``members.csv``.
        titles: Titles of the groups that are drawn, by name, in order.
    """
    members = wide(table[table["group"].isin(titles)]).sort_values("member")
    rates = np.unique(members["learning_rate"])
    at = _places(rates)
    places = dict(zip(rates, at, strict=True))
    spread = 0.4 * np.diff(at).min(initial=0.6)
    margin = max(spread, 0.06 * np.ptp(at))
    figure, shapes = _panels(titles, "learning rate", "accuracy")
    for axes, name in zip(shapes, titles, strict=True):
        own = members[members["group"] == name]
        # Members of a rate stand side by side, with the median across them.
        for rate, same in own.groupby("learning_rate"):
            x = places[rate] + spread * beside(len(same))
            bad = same["diverged_at"].notna().to_numpy()
            # A member that diverged before it was measured stands at 0.
            heights = same["accuracy"].mask(bad & same["accuracy"].isna(), 0.0)
            marks = (~bad, MEMBER | {"alpha": 0.75}), (bad, DIVERGED | {"zorder": 4})
            for chosen, style in marks:
                texts = [_member(row) for row in same[chosen].to_dict("records")]
                drawing.annotate(axes, x[chosen], heights[chosen], texts)
                if chosen.any():  # An empty line would count as a point at the layout's corner.
                    axes.plot(x[chosen], heights[chosen], clip_on=False, **style)
        medians = own.groupby("learning_rate")["accuracy"].median()
        axes.plot(medians.index.map(places), medians, **MEDIAN, zorder=3)
        axes.axhline(own["floor"].max(), **FLOOR, zorder=1)
        scales.accuracy_axis(axes)
        axes.set_xlim(at.min() - margin, at.max() + margin)
        # Rates have a tick each, and a label where there is room.
        shown = _apart(at, TICK_ROOM * min(len(shapes), COLUMNS) * (np.ptp(at) + 2 * margin))
        axes.set_xticks(at[shown], [f"{rate:g}" for rate in rates[shown]], fontsize="small")
        axes.set_xticks(at, minor=True)
    styles = {
        "member": MEMBER,
        "median of a learning rate": MEDIAN,
        "member that diverged": DIVERGED if members["diverged_at"].notna().any() else None,
        "best heuristic without recall": FLOOR,
    }
    _legend(figure, styles)
    return figure


@styled
def success_by_shape(success: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """Share of members above each accuracy, over all learning rates and seeds, with intervals.

    Args:
        success: Rows of ``success.csv``.
        titles: Titles of the groups that are drawn, by name, in order.
    """
    whole = success[(success["over"] == "all") & success["group"].isin(titles)]
    figure, axes = _lines(titles)
    lines = {name: i for i, name in enumerate(titles)}
    thresholds = sorted(set(whole["threshold"]))
    for index, threshold in enumerate(thresholds):
        rows = whole[whole["threshold"] == threshold]
        heights = rows["group"].map(lines) + 0.75 * beside(len(thresholds))[index]
        texts = [
            f"{titles[row['group']]}, above {threshold:.0%}: "
            f"{percent(row['value'])} {percents(row)}"
            for row in rows.to_dict("records")
        ]
        drawing.annotate(axes, rows["value"], heights, texts)
        style = drawing.colour_and_marker(index) | {"label": f"accuracy above {threshold:.0%}"}
        mark = {"linestyle": "none", "markersize": 6, "capsize": 2, "elinewidth": 1.2}
        ends = drawing.around(rows["value"], rows["low"], rows["high"])
        axes.errorbar(rows["value"].to_numpy(), heights, xerr=ends, **mark, **style)
    axes.set(xlabel="share of members", xlim=(-0.02, 1.02))
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    scales.pale_grid(axes, "x")
    axes.set_axisbelow(True)
    legends.legend_below(figure)
    return figure


@styled
def learning_curves(
    curves: Mapping[str, Curves],
    titles: Mapping[str, str],
    table: pd.DataFrame,
    best: Mapping[str, int],
    rises: Mapping[str, tuple[int, int]],
) -> Figure:
    """Accuracy on dev documents over training steps, a line for each member.

    Args:
        curves: Curves of each group, by its name.
        titles: Titles of the groups that are drawn, by name, in order.
        table: Rows of ``members.csv``; an unfinished group has none.
        best: Number of the best member of each finished group.
        rises: Steps between which its accuracy rose, by group; see `store.metrics.rise`.
    """
    members = wide(table[table["group"].isin(titles)]).set_index("member")
    figure, shapes = _panels(titles, "training step", "accuracy on dev documents")
    besides = False  # whether there are members that are not the best
    for axes, name in zip(shapes, titles, strict=True):
        own = members[members["group"] == name]
        lines = {
            member: np.array([(row["step"], row["accuracy"]) for row in rows], float)
            for member, rows in curves[name].items()
        }
        for member, step in own["diverged_at"].dropna().items():
            # The last evaluation; a member without one is at 0.
            line = lines.get(member, np.zeros((0, 2)))
            y = line[-1, 1] if len(line) else 0.0
            lines[member] = np.concatenate([line, [[step, y]]])
            axes.plot(step, y, **DIVERGED, clip_on=False, zorder=5)
        for member in lines.keys() & set(own["stopped_at"].dropna().index):
            axes.plot(*lines[member][-1], **MEMBER, clip_on=False, zorder=5)
        # The best member is drawn over the others, which are grey.
        for member, line in lines.items():
            texts = [f"member {member}, step {s:,.0f}: {percent(y)}" for s, y in line[-1:]]
            drawing.annotate(axes, *line[-1:].T, texts)
        others = [line for member, line in lines.items() if member != best.get(name)]
        besides |= bool(others)
        for line in (line for line in others if len(line) == 1):
            axes.plot(*line.T, color=GREY, **drawing.alone(line))
        axes.add_collection(LineCollection(others, colors=GREY, linewidths=0.9, alpha=0.7))
        if best.get(name) in lines:
            line = lines[best[name]]
            axes.plot(*line.T, **BEST, **drawing.alone(line), zorder=4)
        if name in rises:
            axes.axvspan(*rises[name], **RISE)
        if len(own):
            axes.axhline(own["floor"].max(), **FLOOR, zorder=1)
        axes.autoscale_view()
        scales.accuracy_axis(axes)
        axes.set_xlim(left=0)
        scales.step_axis(axes, ticks=4 if len(shapes) > 1 else 6)
    styles = {
        "member": {"color": GREY} if besides else None,
        "best member": BEST if best else None,
        "its transition": {"color": RISE["color"], "linewidth": 6} if rises else None,
        "reached the target, and stopped": MEMBER if members["stopped_at"].notna().any() else None,
        "diverged": DIVERGED if members["diverged_at"].notna().any() else None,
        "best heuristic without recall": FLOOR,
    }
    _legend(figure, styles)
    return figure


@styled
def verdicts_by_shape(table: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """Number of members of each shape with each verdict.

    Args:
        table: Rows of ``members.csv``.
        titles: Titles of the groups that are drawn, by name, in order.
    """
    verdicts = table[table["metric"] == "verdict"]
    counts = pd.crosstab(verdicts["group"], verdicts["label"])
    # Verdicts of another version, which has other classes, are counted too.
    classes = [*CLASSES, *sorted(set(counts.columns) - set(CLASSES))]
    counts = counts.reindex(index=list(titles), columns=classes, fill_value=0)
    figure, axes = _lines(titles)
    left = np.zeros(len(counts))
    for name in classes:
        width = counts[name].to_numpy()
        if not width.any():
            continue
        colour = verdict_colour(name)
        bars = axes.barh(range(len(counts)), width, left=left, height=0.6, color=colour)
        bars.set_label(name.replace("_", " "))
        texts = [f"{titles[g]}, {name.replace('_', ' ')}: {n}" for g, n in counts[name].items()]
        shown = width > 0
        middles = (left + width / 2)[shown]
        drawing.annotate(axes, middles, np.flatnonzero(shown), np.array(texts)[shown])
        texts = [str(count) if count else "" for count in width]
        axes.bar_label(bars, texts, label_type="center", fontsize="small", color=ink_on(colour))
        left = left + width
    axes.set(xlabel="members", xlim=(0, max(left.max(initial=0), 1)))
    scales.step_axis(axes)
    legends.legend_below(figure)
    return figure


def verdict_colour(name: str) -> str:
    """The colour of a class of verdicts, the same in all figures; grey if it is none today."""
    if name not in CLASSES:
        return UNKNOWN
    return UNLEARNED if name == NOT_LEARNED else COLOURS[CLASSES.index(name) % len(COLOURS)]


def _member(row: Mapping[str, Any]) -> str:
    """What a mark of one member stands for."""
    how = f"learning rate {row['learning_rate']:g}, seed {row['seed']}"
    return f"member {row['member']}, {how}: {percent(row['accuracy'])} {percents(row)}"


def _places(rates: np.ndarray) -> np.ndarray:
    """Positions of sorted learning rates on their axis."""
    positive = np.log10(rates[rates > 0].astype(float))
    below = positive.min(initial=0.0) - 1
    return np.concatenate([np.full(len(rates) - len(positive), below), positive])


def beside(count: int) -> np.ndarray:
    """Offsets between -1/2 and 1/2 of values side by side; fewer values lie closer to 0."""
    return (np.arange(count) + 0.5) / count - 0.5


def _apart(places: np.ndarray, room: float) -> list[int]:
    """Indices of ascending positions, from the first on, that are at least `room` apart."""
    chosen = [0]
    for i in range(1, len(places)):
        if places[i] - places[chosen[-1]] >= room:
            chosen.append(i)
    return chosen


def _panels(titles: Mapping[str, str], x: str, y: str) -> tuple[Figure, list[Axes]]:
    """A figure with a panel for each title, in rows, and names of its outer axes."""
    columns = min(len(titles), COLUMNS)
    rows = math.ceil(len(titles) / columns)
    size = (7.2, 3.8) if len(titles) == 1 else (9.6, 0.9 + 2.3 * rows)
    figure, shapes = drawing.panels(len(titles), columns, *size)
    first, last = drawing.leftmost(shapes), drawing.lowest(shapes)
    for axes, title in zip(shapes, titles.values(), strict=True):
        axes.set_title(_broken(title, PANEL_TITLE), loc="left", fontsize="small")
        axes.set_xlabel(x if axes in last else "", fontsize="small")
        axes.set_ylabel(y if axes in first else "", fontsize="small")
        axes.tick_params(labelsize="small", labelleft=axes in first)
    return figure, shapes


def _broken(title: str, width: int) -> str:
    """A title in lines, broken after commas where possible."""
    return textwrap.fill(title.replace(" ", "\xa0").replace(",\xa0", ", "), width)


def _legend(figure: Figure, styles: Mapping[str, Mapping[str, Any] | None]) -> None:
    """A legend of lines and marks by their names; those without a style do not occur."""
    entries = [(name, Line2D([], [], **style)) for name, style in styles.items() if style]
    legends.legend_below(figure, entries=entries, fontsize="small")


def _lines(titles: Mapping[str, str]) -> tuple[Figure, Axes]:
    """A figure whose y axis has a line for each title, the first on top."""
    figure, axes = drawing.one_axes(8.4, 1.5 + 0.55 * len(titles))
    texts = [_broken(title, LINE_TITLE) for title in titles.values()]
    axes.set_yticks(range(len(titles)), texts, fontsize="small")
    axes.set_ylim(len(titles) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    return figure, axes
