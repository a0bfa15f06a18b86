"""Figures of a run and of several: learning curves, heat maps, the scatter of mechanisms."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mecheval_jax.evaluation.verdict.evidence import CORRUPTION
from mecheval_jax.evaluation.verdict.readings import at, bound, look_up_site
from mecheval_jax.evaluation.verdict.rule import RESTORED
from mecheval_jax.reporting.figures.cells import draw_cells
from mecheval_jax.reporting.figures.drawing import (
    COLOURS,
    FLOOR,
    GREY,
    MARKERS,
    accuracy_axis,
    across,
    around,
    colour_and_marker,
    colour_bar,
    legend_below,
    one_axes,
    panels,
    step_axis,
    styled,
)
from mecheval_jax.reporting.figures.labels import HALO, place_labels
from mecheval_jax.reporting.terminal.tables import COMPONENTS, attributions, look_up_words

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
    entries: list[tuple[str, Line2D]] = []
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
                entries.append((name if several else split, drawn))
    for floor in sorted({round(floor, 4) for floor in floors.values()}):
        axes.axhline(floor, **FLOOR, zorder=2)
        key = Line2D([], [], color=FLOOR["color"], linestyle="--")
        entries.append((f"best heuristic without recall, {floor:.1%}", key))
    axes.set(xlabel="training step", ylabel="accuracy")
    accuracy_axis(axes)
    step_axis(axes)
    if several:
        key = Line2D([], [], color=FLOOR["color"], linestyle=":")
        entries.append(("dotted: training documents", key))
    legend_below(figure, 2 if several else 3, entries)
    return figure


@styled
def attribution_heat_map(table: pd.DataFrame, corruption: str, direction: str) -> Figure:
    """Layers x roles of every component; colours are cut at -1 and 1, numbers are not.

    A grey hatched cell has no value: the role is absent or the gap too small to divide by.
    """
    rows = attributions(table, corruption, direction)
    present = dict.fromkeys(rows["component"])
    components = sorted(present, key=lambda component: _index(COMPONENTS, component))
    roles = sorted(dict.fromkeys(rows["role"]), key=lambda role: _index(ROLE_ORDER, role))
    layers = max((rows[rows["component"] == c]["layer"].nunique() for c in components), default=1)
    count, columns = max(len(components), 1), across(len(components))
    width = 1.2 + columns * (0.7 + 0.58 * max(len(roles), 3))
    height = 0.9 + math.ceil(count / columns) * (1.25 + 0.42 * layers)
    figure, grid = panels(count, columns, width, height)
    norm, colours = Normalize(-1, 1, clip=True), matplotlib.colormaps["RdBu_r"]
    for axes, component in zip(grid, components, strict=False):
        _panel(axes, rows[rows["component"] == component], component, roles, norm, colours)
    if not components:
        grid[0].set_axis_off()
    verb = {"restore": "restored by clean", "damage": "damaged by corrupted"}.get(direction, "")
    figure.suptitle(f"Answer {verb} activations, {corruption} corrupted", fontsize=12)
    ticks = {"aspect": 22, "pad": 0.02, "ticks": (-1, -0.5, 0, 0.5, 1)}
    colour_bar(figure, grid, ScalarMappable(norm, colours), "attribution", **ticks)
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
    """What the input of a layer restores at the value against at the query, a mark a run.

    The layer is the first that can look up what another has bound (`readings.look_up_site`). The
    study's central figure: induction lies at the upper left, direct retrieval in the layer before
    at the lower right. Where the next key restores instead of the value (a short
    convolution binds there) that one is drawn, as in the verdict.

    Args:
        tables: name of the run to the rows of its ``interchange.csv``.

    Returns:
        The figure, and the names of the runs that have a mark: those of which the input of that
        layer was measured.
    """
    points = {}
    measured = {n: attributions(table, CORRUPTION, "restore") for n, table in tables.items()}
    sites = (look_up_site(rows["site"]) for rows in measured.values())
    site = min(filter(None, sites), key=lambda site: site.layer, default=None)
    later, earlier = look_up_words(site)
    for name, table in measured.items():
        rows = table.to_dict("records")
        value, query = bound(rows, site), at(rows, site, "query")
        if not any(pd.isna(row["value"]) for row in (value, query)):
            points[name] = (query, value)
    figure, axes = one_axes(7.2, 5.6)
    axes.set(
        xlabel=f"attribution at the query, input of {later}",
        ylabel=f"attribution at the value (or next key), input of {later}",
    )
    for line in (axes.axhline, axes.axvline):
        line(0, color="#d0d0d0", linewidth=0.8, zorder=1)
        line(RESTORED, color=GREY, linewidth=0.8, linestyle=":", zorder=1)
    corners = [
        axes.text(0.0, 1.13, "induction", ha="center"),
        axes.text(1.0, -0.17, f"direct retrieval\nin {earlier}", ha="center"),
        axes.text(0.0, -0.17, "neither\n(delayed, or nothing read)", ha="center"),
    ]
    for text in corners:
        text.set(color="#555555", style="italic", va="center", path_effects=HALO, zorder=3)
    for index, (query, value) in enumerate(points.values()):
        # Those that share a colour have another mark.
        style = colour_and_marker(index) | {
            "marker": MARKERS[(index // len(COLOURS) + index) % len(MARKERS)]
        }
        axes.errorbar(
            query["value"],
            value["value"],
            around(*(value[end] for end in ("value", "low", "high"))),
            around(*(query[end] for end in ("value", "low", "high"))),
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


def _index(names: Sequence[str], name: str) -> int:
    """Place of a name in an order; those it does not have come last, as they came."""
    return names.index(name) if name in names else len(names)
