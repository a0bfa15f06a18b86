"""The study's figures, drawn from tables alone: published and own numbers in the same axes.

Published numbers are hollow and pale, our own are filled. A figure is drawn only if it would show
numbers of our own.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from mecheval_jax.errors import counted
from mecheval_jax.reporting.figures import drawing, legends, scales
from mecheval_jax.reporting.figures.drawing import COLOURS, GREY
from mecheval_jax.reporting.figures.look import styled
from mecheval_jax.site_path import SitePath
from mecheval_jax.study.cells import StudyCells, has_usual_positions
from mecheval_jax.study.measured import answering
from mecheval_jax.study.published.tables import WIDTHS, Shares, published_shares
from mecheval_jax.study.quantities import Quantity
from mecheval_jax.study.results import INPUT, column_of

STYLES = drawing.mixer_styles(drawing.MIXERS)
"""Colour and mark of each mixer."""
STUDY = {"color": GREY, "markerfacecolor": "white", "linewidth": 1.3, "markersize": 6}
"""Style of published numbers without a colour of their own."""

TAPS = {str(taps): "" if taps == 4 else f"d_conv={taps}" for taps in (0, 1, 2, 3, 4, 6, 8, 16)}
KERNELS = {"1": "kernel=1", "2": "kernel=2", "3": "", "4": "kernel=4", "long": "kernel=implicit"}
"""Sizes of the short convolutions, with the option that stands for each."""

ROLES = ("key", "query", "value")

DEPTHS = (1, 2, 3)
"""Numbers of layers of the study's models."""


def study_figures(cells: StudyCells) -> Iterator[tuple[str, str, Figure]]:
    """All figures for which there are results: names of their files, captions and figures."""
    rows = cells.table
    for task, layers in _trained(rows):
        depth = counted(layers, "layer")
        name = f"accuracy_{task}_{layers}".lower().replace(" ", "_").replace("=", "")
        yield (
            name,
            f"Accuracy against width: {task}, {depth}",
            accuracy_by_width(cells, task, layers),
        )
    shares = [column_of(INPUT, role) for role in ROLES]
    measured = [task for task in sorted(rows["task"].unique()) if _has(cells, shares, task)]
    if measured:
        caption = (
            "What the input of layer 1 restores, at the value, the key and the query, as a share "
            "of the answer's lost probability"
        )
        yield "attributions", caption, attribution_scatter(cells, measured)
    own = {(run.task, run.layers, run.mixer, run.option) for run in rows.itertuples()}
    sizes = (("mamba", TAPS), ("based", KERNELS))
    others = {("AR", 2, mixer, option) for mixer, of in sizes for option in of.values() if option}
    if own & others:
        caption = (
            "Sizes of the short convolutions of Mamba and Based, on AR; at the right circles and "
            "bars are medians and middle halves of the study's runs, diamonds runs here"
        )
        yield "convolutions", caption, convolution_sizes(cells)
    if any(_has(cells, [_written_by(depth - 1)], layers=depth) for depth in DEPTHS):
        yield "layers", "Which layer writes the answer, on AR", writing_layers(cells)


def _has(cells: StudyCells, columns: Sequence[str], task: str = "AR", layers: int = 2) -> bool:
    """Whether a run that learned has all of some restored shares, and a mixer of `STYLES`."""
    return any(
        cells.learned(mixer, task, layers=layers)[list(columns)].notna().all(axis=1).any()
        for mixer in STYLES
    )


def _trained(rows: pd.DataFrame) -> list[tuple[str, int]]:
    """Tasks and depths with models of `STYLES` in the main grid, AR with two layers first."""
    own = rows[has_usual_positions(rows) & (rows["option"] == "") & (rows["split"] == "test")]
    own = own[own["mixer"].isin(list(STYLES)) & own["accuracy"].notna()]
    pairs = {(str(row.task), int(row.layers)) for row in own.itertuples()}
    return sorted(pairs, key=lambda pair: (pair[0] != "AR", pair[0], abs(pair[1] - 2), pair[1]))


@styled
def accuracy_by_width(cells: StudyCells, task: str, layers: int) -> Figure:
    """Published and own accuracies over the width, a panel for each mixer.

    Args:
        cells: Results.
        task: Name of the task.
        layers: Number of layers.
    """
    # What was trained or published, and a panel for each of its mixers.
    rows = cells.table
    of_task = rows[
        (rows["task"] == task) & (rows["layers"] == layers) & (rows["split"] == "test")
        & (rows["option"] == "") & has_usual_positions(rows)
    ]  # fmt: skip
    shown = {
        mixer: {w: cells.published(mixer, w, task, layers=layers) for w in WIDTHS}
        for mixer in STYLES
    }
    mixers = [m for m in STYLES if any(shown[m].values()) or m in set(of_task["mixer"])]
    across = 4 if len(mixers) > 6 else drawing.across(len(mixers))
    size = (max(2.6 * across, 6.4), 0.9 + 2.3 * -(-len(mixers) // across))
    figure, panels = drawing.panels(len(mixers), across, *size, sharex=True, sharey=True)

    # Every panel: the published line, each run of ours and their means, and the floor.
    for axes, mixer in zip(panels, mixers, strict=True):
        _line(axes, {w: value for w, value in shown[mixer].items() if value is not None})
        own = answering(of_task[of_task["mixer"] == mixer])
        style = STYLES[mixer]
        for run in own.itertuples():  # beside the mean
            axes.plot(1.16 * run.width, run.accuracy, ".", color=style["color"], clip_on=False)
        ours = {w: cells.accuracy(mixer, w, task, layers=layers) for w in WIDTHS}
        _points(axes, {w: one for w, one in ours.items() if one.runs}, style)
        axes.set_title(mixer, loc="left")
        axes.set_xscale("log", base=2)
        axes.set_xticks(WIDTHS, [str(width) for width in WIDTHS])
        axes.minorticks_off()
        axes.set_xlim(WIDTHS[0] / 1.3, WIDTHS[-1] * 1.3)
        scales.accuracy_axis(axes)
        floor = cells.floor(task)
        if floor == floor:
            axes.axhline(floor, **drawing.FLOOR)

    # The outer axes, and one legend for all.
    for axes in drawing.leftmost(panels):
        axes.set_ylabel("accuracy")
    for axes in drawing.lowest(panels):
        axes.set_xlabel("width")
        axes.tick_params(labelbottom=True)
    mark = {"color": "black", "linestyle": "none"}
    legends.legend_below(figure, 2, [
        ("the study: best rate, one seed", Line2D([], [], marker="o", **STUDY)),
        ("here: best rate, mean with 95 %", Line2D([], [], marker="o", **mark)),
        ("here: each run, of all rates", Line2D([], [], marker=".", **mark)),
        ("best heuristic without recall", Line2D([], [], **drawing.FLOOR)),
    ])  # fmt: skip
    return figure


def _line(axes: Axes, numbers: Mapping[float, float], **style: object) -> None:
    """Published numbers, joined by a line."""
    drawn = axes.plot(list(numbers), list(numbers.values()), marker="o", **(STUDY | style))
    drawn[0].set_clip_on(not numbers)  # a mark at 100 % is drawn whole


def _points(axes: Axes, quantities: Mapping[float, Quantity], style: Mapping[str, str]) -> None:
    """Our own numbers with their intervals."""
    for x, one in quantities.items():
        ends = drawing.around(one.value, *one.interval())
        (*drawn, _) = axes.errorbar(x, one.value, ends, markersize=7, zorder=4, **style)
        drawn[0].set_clip_on(False)  # a mark at 100 % is drawn whole


@styled
def attribution_scatter(cells: StudyCells, tasks: Sequence[str]) -> Figure:
    """Restored shares at the input of layer 1, two panels for each task, a mark for each own run.

    Boxes hold the study's runs: all of them for AR, the middle half for the other tasks.

    Args:
        cells: Results.
        tasks: Names of the tasks of which own runs were measured.
    """
    rows, shown = cells.table, set()
    figure, panels = drawing.panels(2 * len(tasks), 2, 8.4, 0.8 + 3.5 * len(tasks))
    for i, task in enumerate(tasks):
        for axes, role in zip(panels[2 * i : 2 * i + 2], ("value", "key"), strict=True):
            known = [0.0]
            for line in (axes.axhline, axes.axvline):
                line(0, color=scales.PALE, linewidth=0.8, zorder=1)
            for place, (mixer, style) in enumerate(STYLES.items()):
                boxes = [
                    published_shares((task, 2, mixer, ""), INPUT, at) for at in ("query", role)
                ]
                if all(boxes):
                    shown.add(mixer)
                    _draw_box(axes, *boxes, style)
                for run in cells.learned(mixer, task).itertuples():
                    own = rows.loc[run.Index]
                    x, y = ([own[column_of(INPUT, at) + end] for end in ("", "_low", "_high")]
                            for at in ("query", role))  # fmt: skip
                    if x[0] == x[0] and y[0] == y[0]:
                        shown.add(mixer)
                        known += [x[0], y[0]]
                        ends = {"xerr": drawing.around(*x), "yerr": drawing.around(*y)}
                        # Later marks are smaller and pale: those behind stay visible.
                        mark = {"markersize": 12 - place, "markeredgewidth": 1.6}
                        mark |= {"markerfacecolor": f"{style['color']}40"}
                        axes.errorbar(x[0], y[0], **ends, **mark, elinewidth=0.8, zorder=4, **style)
            limits = (
                min(-0.35, *(one - 0.1 for one in known)),
                max(1.35, *(one + 0.1 for one in known)),
            )
            axes.set(xlim=limits, ylim=limits, xlabel="at the query")
            axes.set_ylabel(f"at the {role}")
            axes.set_title(task, loc="left")
    entries = [
        (mixer, Line2D([], [], linestyle="none", markersize=7, **style))
        for mixer, style in STYLES.items()
        if mixer in shown
    ]
    box = Line2D([], [], color=GREY, marker="s", markersize=11, alpha=0.4, linestyle="none")
    legends.legend_below(
        figure, 4, [*entries, ("box: the study's runs, on treecall the middle half", box)]
    )
    return figure


def _draw_box(axes: Axes, x: Shares, y: Shares, style: Mapping[str, str]) -> None:
    """Draw the study's runs of a mixer as a box."""
    (left, width), (bottom, height) = (
        ((each.low + each.high - side) / 2, side)
        for each in (x, y)
        for side in [max(each.high - each.low, 0.03)]  # narrow ranges are widened, to be visible
    )
    box = Rectangle((left, bottom), width, height, zorder=2, linewidth=1)
    box.set(facecolor=f"{style['color']}26", edgecolor=style["color"])
    axes.add_patch(box)


@styled
def convolution_sizes(cells: StudyCells) -> Figure:
    """Accuracy by the size of the short convolution, and the shares that Mamba restores."""
    figure, (mamba, based, shares) = drawing.panels(3, 3, 11.5, 4.2)
    for axes, mixer, of in ((mamba, "mamba", TAPS), (based, "based", KERNELS)):
        ours = {
            (size, width): cells.accuracy(mixer, width, option=option)
            for size, option in of.items()
            for width in WIDTHS
        }
        known = {size for (size, _), one in ours.items() if one.runs or one.published}
        sizes = [size for size in of if size in known]
        for index, width in enumerate(WIDTHS):
            style = drawing.colour_and_marker(index)
            own = [ours[size, width] for size in sizes]
            theirs = {x: one.published[0] for x, one in enumerate(own) if one.published}
            _line(axes, theirs, color=style["color"], alpha=0.5, linewidth=1.0)
            # Widths lie side by side, so that equal numbers are visible.
            places = {x + 0.08 * (index - 2): one for x, one in enumerate(own) if one.runs}
            _points(axes, places, style)
        axes.set_xticks(range(len(sizes)), sizes)
        axes.set_title(f"{mixer}: accuracy", loc="left")
        axes.set_xlabel("taps of the convolution" if mixer == "mamba" else "size of the kernel")
        scales.accuracy_axis(axes)
    _shares_by_taps(cells, shares)
    entries = [
        (f"width {width}", Line2D([], [], linestyle="none", **drawing.colour_and_marker(index)))
        for index, width in enumerate(WIDTHS)
    ]
    entries += [("the study", Line2D([], [], marker="o", **STUDY))]
    legends.legend_below(figure, 6, entries)
    return figure


def _shares_by_taps(cells: StudyCells, axes: Axes) -> None:
    """Restored shares of Mamba at the input of layer 1 by the number of taps."""
    taps = ("2", "3", "4")
    for index, role in enumerate(ROLES):
        for x, option in enumerate(TAPS[size] for size in taps):
            at = x + 0.26 * (index - 1)
            theirs = published_shares(("AR", 2, "mamba", option), INPUT, role, "median")
            own = cells.learned("mamba", option=option)[column_of(INPUT, role)]
            _beside_each_other(axes, at, theirs, own, COLOURS[index])
        axes.plot([], [], "D", color=COLOURS[index], label=f"at the {role}")
    axes.legend(loc="upper left", ncols=3, frameon=False, fontsize="small", handletextpad=0.2)
    axes.set_xticks(range(len(taps)), taps)
    axes.set(xlabel="taps of the convolution", ylabel="share restored", ylim=_held([axes], 1.4))
    axes.set_title("mamba: restored by layer 1's input", loc="left")
    scales.pale_grid(axes, "y")


def _beside_each_other(
    axes: Axes, x: float, theirs: Shares | None, own: pd.Series, colour: str
) -> None:
    """Restored shares at one place: the study's median and middle half, and our runs."""
    if theirs is not None:
        bar = {"linewidth": 7, "alpha": 0.3, "solid_capstyle": "butt"}
        axes.plot([x, x], [theirs.low, theirs.high], color=colour, **bar)
        axes.plot(x, theirs.median, "o", color=colour, markerfacecolor="white", zorder=3)
    own = own.dropna()
    places = x + 0.1 + 0.03 * (np.arange(len(own)) % 3 - 1)
    mark = {"marker": "D", "linestyle": "none", "markersize": 5, "markeredgecolor": "white"}
    axes.plot(places, own, color=colour, zorder=4, **mark)


def _held(panels: Sequence[Axes], high: float) -> tuple[float, float]:
    """Limits that hold all restored shares which were drawn, from -0.3 to `high` at least."""
    drawn = [np.ravel(line.get_ydata()) for axes in panels for line in axes.get_lines()]
    return scales.limits(np.concatenate([np.zeros(1), *drawn]), [], (-0.3, high))[0]


def _written_by(layer: int) -> str:
    """Column of the share that the output of a layer's mixer restores at the query."""
    return column_of(SitePath(layer, "mixer_output").path, "query")


@styled
def writing_layers(cells: StudyCells) -> Figure:
    """Share that each layer's output restores at the query, a panel for each depth."""
    figure, panels = drawing.panels(3, 3, 12.0, 4.0, sharey=True)
    for axes, depth in zip(panels, DEPTHS, strict=True):
        for x, mixer in enumerate(STYLES):
            for layer in range(depth):
                site = SitePath(layer, "mixer_output").path
                theirs = published_shares(("AR", depth, mixer, ""), site, "query", "median")
                own = cells.learned(mixer, layers=depth)[_written_by(layer)]
                at = x + 0.26 * (layer - (depth - 1) / 2)
                _beside_each_other(axes, at, theirs, own, COLOURS[layer])
        axes.set_xticks(range(len(STYLES)), list(STYLES), rotation=35, ha="right")
        axes.set_xlim(-0.5, len(STYLES) - 0.5)
        axes.set_title(counted(depth, "layer"), loc="left")
        scales.pale_grid(axes, "y")
    panels[0].set_ylim(_held(panels, 1.3))  # of all, which share it
    panels[0].set_ylabel("restored by the layer's output, at the query")
    mark = {"marker": "D", "linestyle": "none"}
    layers = [(f"layer {i}", Line2D([], [], color=COLOURS[i], **mark)) for i in range(max(DEPTHS))]
    theirs = Line2D([], [], marker="o", **STUDY | {"linewidth": 7, "color": scales.PALE})
    theirs.set_markeredgecolor(GREY)
    entries = [*layers, ("the study: median and middle half of its runs", theirs)]
    legends.legend_below(figure, 4, entries)
    return figure
