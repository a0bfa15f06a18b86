"""Figures of a run and of several: learning curves, heat maps, the scatter of mechanisms."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mecheval_jax.evaluation.verdict.evidence import CORRUPTION
from mecheval_jax.evaluation.verdict.rule import RESTORED
from mecheval_jax.reporting.figures.cells import draw_cells
from mecheval_jax.reporting.figures.drawing import (
    COLOURS,
    MARKERS,
    accuracy_axis,
    one_axes,
    step_axis,
    styled,
)
from mecheval_jax.reporting.figures.labels import HALO, place_labels
from mecheval_jax.reporting.terminal.tables import COMPONENTS, LOOK_UP, at, attributions, bound

ROLE_ORDER = ("key", "value", "next_key", "divider", "query")


@styled
def accuracy_over_steps(
    runs: Mapping[str, Sequence[Mapping[str, Any]]], floors: Mapping[str, float]
) -> Figure:
    """Accuracy on training and dev documents over steps, 0 to 100 %.

    Args:
        runs: name of the run to its rows of ``metrics.jsonl``.
        floors: name of the run to the accuracy of its task's best heuristic, where known.
    """
    several = len(runs) > 1
    rows = math.ceil(len(runs) / 2) if several else 0
    figure, axes = one_axes(7.2, 3.8 + 0.22 * rows)
    handles: list[Line2D] = []
    names: list[str] = []
    for index, (name, metrics) in enumerate(runs.items()):
        colour = COLOURS[index % len(COLOURS)]
        for split, line in (("train", {"alpha": 0.6, "linewidth": 1.0}), ("dev", {})):
            chosen = [row for row in metrics if row.get("split") == split and "accuracy" in row]
            # Training and dev of one run differ in colour; several runs differ by it, so
            # that theirs differ in stroke.
            own = colour if several or split == "dev" else COLOURS[1]
            style = {"color": own, "linewidth": 2.0, "zorder": 3} | line
            if several and split == "train":
                style |= {"linestyle": ":", "linewidth": 1.2}
            steps = [row["step"] for row in chosen]
            (drawn,) = axes.plot(steps, [row["accuracy"] for row in chosen], **style)
            if not several or split == "dev":
                handles.append(drawn)
                names.append(name if several else split)
    for floor in sorted({round(floor, 4) for floor in floors.values()}):
        axes.axhline(floor, color="#555555", linestyle="--", linewidth=1.2, zorder=2)
        handles.append(Line2D([], [], color="#555555", linestyle="--"))
        names.append(f"best heuristic without recall, {floor:.1%}")
    axes.set(xlabel="training step", ylabel="accuracy")
    accuracy_axis(axes)
    step_axis(axes)
    if several:
        handles.append(Line2D([], [], color="#555555", linestyle=":"))
        names.append("dotted: training documents")
    figure.legend(
        handles, names, loc="outside lower center", ncols=2 if several else 3, frameon=False
    )
    return figure


@styled
def attribution_heat_map(table: pd.DataFrame, corruption: str, direction: str) -> Figure:
    """Layers x roles of every component; colours are cut at -1 and 1, numbers are not.

    A grey hatched cell has no value: the role is absent or the gap too small to divide by.
    """
    rows = attributions(table, corruption, direction)
    components = sorted(dict.fromkeys(rows["component"]), key=_component_order)
    roles = sorted(dict.fromkeys(rows["role"]), key=lambda role: _index(ROLE_ORDER, role))
    layers = max((rows[rows["component"] == c]["layer"].nunique() for c in components), default=1)
    # As many columns as fill whole rows: three for attention's six, two for Mamba's four.
    columns = min(len(components), 2 if len(components) in (2, 4) else 3) or 1
    lines = math.ceil(len(components) / columns) or 1
    figure = Figure(
        figsize=(
            1.2 + columns * (0.7 + 0.58 * max(len(roles), 3)),
            0.9 + lines * (1.25 + 0.42 * layers),
        ),
        layout="constrained",
    )
    FigureCanvasAgg(figure)
    grid = figure.subplots(lines, columns, squeeze=False)
    norm, colours = Normalize(-1, 1, clip=True), matplotlib.colormaps["RdBu_r"]
    for axes, component in zip(grid.flat, components, strict=False):
        _panel(axes, rows[rows["component"] == component], component, roles, norm, colours)
    for axes in grid.flat[len(components) :]:
        axes.set_axis_off()
    verb = {"restore": "restored by clean", "damage": "damaged by corrupted"}.get(direction, "")
    figure.suptitle(f"Answer {verb} activations, {corruption} corrupted", fontsize=12)
    bar = figure.colorbar(
        ScalarMappable(norm, colours),
        ax=grid,
        shrink=0.8,
        aspect=22,
        pad=0.02,
        ticks=(-1, -0.5, 0, 0.5, 1),
    )
    bar.set_label("attribution")
    bar.outline.set_visible(False)
    return figure


def _panel(
    axes: Axes,
    rows: pd.DataFrame,
    component: str,
    roles: list[str],
    norm: Normalize,
    colours: Colormap,
) -> None:
    layers = sorted(set(rows["layer"]), key=lambda layer: -1 if math.isnan(layer) else layer)
    layers = list(dict.fromkeys("" if math.isnan(layer) else int(layer) for layer in layers))
    values = np.full((len(layers), len(roles)), np.nan)
    for row in rows.to_dict("records"):
        layer = "" if math.isnan(row["layer"]) else int(row["layer"])
        values[layers.index(layer), roles.index(row["role"])] = row["value"]
    draw_cells(axes, values, roles, layers, norm, colours)
    axes.set_ylabel("layer" if layers != [""] else "")
    axes.set_title(component.replace("_", " "), loc="left")


@styled
def layer_scatter(tables: Mapping[str, pd.DataFrame]) -> tuple[Figure, list[str]]:
    """What the input of layer 1 restores at the value against at the query, a mark a run.

    The study's central figure: induction lies at the upper left, direct retrieval in
    layer 0 at the lower right. Where the next key restores instead of the value (a short
    convolution binds there) that one is drawn, as in the verdict.

    Args:
        tables: name of the run to the rows of its ``interchange.csv``.

    Returns:
        The figure, and the names of the runs that have a mark: those whose input of
        layer 1 was measured.
    """
    points = {}
    for name, table in tables.items():
        rows = attributions(table, CORRUPTION, "restore").to_dict("records")
        value, query = bound(rows), at(rows, LOOK_UP, "query")
        if not any(pd.isna(row["value"]) for row in (value, query)):
            points[name] = (query, value)
    figure, axes = one_axes(7.2, 5.6)
    axes.set(
        xlabel="attribution at the query, input of layer 1",
        ylabel="attribution at the value (or next key), input of layer 1",
    )
    for line in (axes.axhline, axes.axvline):
        line(0, color="#d0d0d0", linewidth=0.8, zorder=1)
        line(RESTORED, color="#909090", linewidth=0.8, linestyle=":", zorder=1)
    corners = [
        axes.text(0.0, 1.13, "induction", ha="center"),
        axes.text(1.0, -0.17, "direct retrieval\nin layer 0", ha="center"),
        axes.text(0.0, -0.17, "neither\n(delayed, or nothing read)", ha="center"),
    ]
    for text in corners:
        text.set(color="#555555", style="italic", va="center", path_effects=HALO, zorder=3)
    for index, (query, value) in enumerate(points.values()):
        style = {
            "color": COLOURS[index % len(COLOURS)],
            "marker": MARKERS[(index // len(COLOURS) + index) % len(MARKERS)],
        }
        spread = [
            [[row["value"] - row["low"]], [row["high"] - row["value"]]] for row in (query, value)
        ]
        x_error, y_error = (np.maximum(np.array(error, float), 0) for error in spread)
        axes.errorbar(
            query["value"],
            value["value"],
            y_error,
            x_error,
            markersize=8,
            capsize=2,
            elinewidth=1,
            markeredgecolor="white",
            zorder=4,
            **style,
        )
    places = np.array([(q["value"], v["value"]) for q, v in points.values()]).reshape(-1, 2)
    low = np.minimum(places.min(axis=0, initial=0) - 0.1, -0.3)
    high = np.maximum(places.max(axis=0, initial=1) + 0.1, (1.3, 1.2))
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    place_labels(axes, list(points), places, corners)
    return figure, list(points)


def _error(row: Mapping[str, Any]) -> np.ndarray:
    """Below and above the value; a skewed bootstrap may lie beside it, which is no length."""
    ends = [[row["value"] - row["low"]], [row["high"] - row["value"]]]
    return np.maximum(np.array(ends, float), 0)


def _index(names: Sequence[str], name: str) -> int:
    """Place of a name in an order; those it does not have come last, as they came."""
    return names.index(name) if name in names else len(names)


def _component_order(component: str) -> int:
    return _index(COMPONENTS, component)
