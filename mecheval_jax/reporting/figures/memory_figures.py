"""Figures of a model's memory, each from the tables of its analysis alone."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from mecheval_jax.reporting.figures import drawing, legends, scales
from mecheval_jax.reporting.figures.look import styled
from mecheval_jax.reporting.numbers import interval, number
from mecheval_jax.store.row_selection import rows_with


@styled
def capacity_curve(table: pd.DataFrame) -> Figure:
    """Recall over the number of pairs, with its fit and threshold, and that of an additive memory.

    Args:
        table: Rows of `evaluation.memory.capacity.capacity_rows`, with the ``mixer``.
    """
    figure, axes = drawing.one_axes(6.4, 4.2)
    mixer = str(table["mixer"].iloc[0])
    style = drawing.mixer_styles([mixer])[mixer] | {"label": mixer}
    recall = rows_with(table, metric="recall")
    drawing.line_with_band(axes, recall, "pairs", {"alpha": 0.2}, linestyle="none", **style)
    lines = {
        "fit": ("-", style["color"], "fit"),
        "hashing": ("--", drawing.GREY, "additive memory"),
    }
    for metric, (dashes, colour, label) in lines.items():
        rows = rows_with(table, metric=metric)
        if len(rows):
            axes.plot(rows["pairs"], rows["value"], dashes, color=colour, label=label)
    threshold = rows_with(table, metric="threshold").iloc[0].to_dict()
    _pairs_axis(axes, list(recall["pairs"]))
    if pd.isna(threshold["value"]):
        title = f"threshold {threshold['beyond']} the numbers of pairs measured"
    else:
        axes.axvline(threshold["value"], color=style["color"], linestyle=":", linewidth=1.2)
        title = f"half is recalled at {number(threshold['value'])} pairs {interval(threshold)}"
    axes.set_title(title, loc="left")
    axes.set_ylabel("recall")
    scales.accuracy_axis(axes)
    legends.legend_below(figure)
    return figure


@styled
def capacities(table: pd.DataFrame) -> Figure:
    """Recall of several models over the number of pairs, and their thresholds over their states.

    Args:
        table: Rows ``recall``, ``hashing``, ``threshold`` and ``additive_threshold`` of several
            runs, with ``run`` and ``mixer``. Of several runs of a mixer the line is their mean. A
            threshold beyond the measured sizes is an open mark at their end, and an end of an
            interval beyond them an arrow there.
    """
    figure, (left, right) = drawing.panels(2, 2, 9.6, 4.4)
    styles = drawing.mixer_styles(table["mixer"])

    # Recall over pairs: each run, the mean of each mixer, and theory.
    recall = rows_with(table, metric="recall")
    for mixer, rows in recall.groupby("mixer", sort=False):
        style = styles[str(mixer)]
        for _, run in rows.groupby("run", sort=False):
            left.plot(run["pairs"], run["value"], color=style["color"], alpha=0.3, linewidth=1)
        mean = rows.groupby("pairs")["value"].mean()
        left.plot(mean.index, mean, **style, label=str(mixer))
    theory = rows_with(table, metric="hashing")
    line = {"linestyle": "--", "color": drawing.GREY, "label": "additive memory"}
    if len(theory):
        mean = theory.groupby("pairs")["value"].mean()
        left.plot(mean.index, mean, **line)
    _pairs_axis(left, sorted(set(recall["pairs"].tolist())))
    left.set_ylabel("recall")
    scales.accuracy_axis(left)

    # Thresholds over bytes, and that of theory.
    found = rows_with(table, metric="threshold")
    least, most = recall["pairs"].min(), recall["pairs"].max()
    for mixer, rows in found.groupby("mixer", sort=False):
        style = styles[str(mixer)] | {"linestyle": "none"}
        known, beyond = rows.dropna(subset=["value"]), rows[rows["value"].isna()]
        lows, highs = (known[end].astype(float) for end in ("low", "high"))
        ends = drawing.around(known["value"], lows.fillna(least), highs.fillna(most))
        right.errorbar(known["state_bytes"], known["value"], ends, **style)
        for open_ends, size, arrow in ((lows, least, "v"), (highs, most, "^")):
            sizes = known.loc[open_ends.isna(), "state_bytes"]
            right.plot(sizes, [size] * len(sizes), **style | {"marker": arrow})
        end = beyond["pairs"].where(beyond["beyond"] == "above", least)
        right.plot(beyond["state_bytes"], end, **style, fillstyle="none")
    theory = rows_with(table, metric="additive_threshold").sort_values("state_bytes")
    right.plot(theory["state_bytes"], theory["value"], **line | {"label": None})
    right.set(yscale="log", xlabel="size of the state", ylabel="pairs of which half is recalled")
    right.xaxis.set_major_formatter(EngFormatter("B"))
    scales.ratio_axis(right.yaxis)
    scales.pale_grid(right, "y")
    legends.legend_below(figure, 4)
    return figure


def _pairs_axis(axes: Axes, pairs: list[int]) -> None:
    axes.set(xscale="log", xlabel="pairs in the document")
    axes.minorticks_off()
    scales.spaced_ticks(axes, pairs, [f"{n:,}" for n in pairs])


@styled
def generalization_bars(table: pd.DataFrame) -> Figure:
    """Accuracy at every setting, with its interval, and the best floor as a line across it.

    Args:
        table: Rows of `evaluation.memory.generalization.generalization_rows`.
    """
    accuracy = rows_with(table, metric="accuracy")
    floor = rows_with(table, metric="floor")
    figure, axes = drawing.one_axes(2.6 + 1.1 * len(accuracy), 4.0)
    ends = drawing.around(accuracy["value"], accuracy["low"], accuracy["high"])
    colour = drawing.colour_and_marker(0)["color"]
    bars = {"yerr": ends, "color": f"{colour}66", "ecolor": colour}
    axes.bar(range(len(accuracy)), accuracy["value"], 0.6, **bars)
    axes.set_axisbelow(True)
    line = drawing.FLOOR | {"label": "best floor"}
    places = range(len(floor))
    axes.hlines(floor["value"], [x - 0.4 for x in places], [x + 0.4 for x in places], **line)
    names = accuracy["setting"].str.replace("+", "\n")
    axes.set_xticks(range(len(accuracy)), names)
    axes.set_ylabel("accuracy")
    scales.accuracy_axis(axes)
    legends.legend_below(figure)
    return figure


@styled
def editing_cells(table: pd.DataFrame) -> Figure:
    """Accuracy of every question after each operation, and the share of the new answer.

    Args:
        table: Rows of `evaluation.memory.editing.editing_rows`.
    """
    metrics = {"accuracy": "{question} pair", "new_answer": "{question} pair: the donor's value"}
    shown = table[table["metric"].isin(metrics)]
    lines = [
        metrics[m].format(question=q)
        for m, q in zip(shown["metric"], shown["question"], strict=True)
    ]
    cells = drawing.cells_of(shown.assign(line=lines), "line", "operation")
    figure, axes = drawing.one_axes(6.0, 1.6 + 0.4 * len(cells))
    drawing.draw_cells(axes, cells, f"Right answers, edited at {table['site'].iloc[0]}")
    return figure


@styled
def overwriting_cells(table: pd.DataFrame) -> Figure:
    """Probabilities of the new and the old value with the one, the other or both pairs removed.

    Args:
        table: Rows of `evaluation.memory.overwriting.overwriting_rows`.
    """
    shown = table[table["condition"].notna()]
    value = shown["metric"].str.removesuffix("_probability") + " value"
    condition = shown["condition"].str.replace("_", " ")
    cells = drawing.cells_of(shown.assign(line=value, at=condition), "line", "at")
    figure, axes = drawing.one_axes(6.4, 2.8)
    row = rows_with(table, metric="uncovered").iloc[0].to_dict()
    told = f"{row['reading']}: uncovered {number(row['value'])} {interval(row)}"
    drawing.draw_cells(axes, cells, told)
    return figure


@styled
def component_cells(table: pd.DataFrame) -> Figure:
    """Share of the answer that is left without each part, a panel for each kind of ablation.

    Args:
        table: Rows of `evaluation.memory.components.component_rows`.
    """
    kept = rows_with(table, metric="kept")
    kinds = list(kept["ablation"].unique())
    size = (2.8 + 1.9 * len(kinds), 1.8 + 0.36 * kept["component"].nunique())
    figure, every = drawing.panels(len(kinds), len(kinds), *size, sharey=True)
    for axes, kind in zip(every, kinds, strict=True):
        cells = drawing.cells_of(rows_with(kept, ablation=kind), "component", "where")
        drawing.draw_cells(axes, cells, kind)
    drawing.headline(figure, "Share of the answer that is left")
    return figure
