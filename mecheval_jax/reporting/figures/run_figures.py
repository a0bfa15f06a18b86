"""Figures of a run and of several: curves over training, heat maps, the scatter of mechanisms."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mecheval_jax.evaluation.config import CORRUPTION, DAMAGE, RESTORE, EvaluationConfig
from mecheval_jax.evaluation.verdict.readings import at, bound, look_up_site
from mecheval_jax.evaluation.verdict.rule import RESTORED
from mecheval_jax.models.blocks import COMPONENTS
from mecheval_jax.reporting.figures import drawing, legends, scales
from mecheval_jax.reporting.figures.drawing import (
    CHANGE,
    COLOURS,
    DARK_GREY,
    FLOOR,
    GREY,
    LINE_GREY,
    ON_CHANGE,
)
from mecheval_jax.reporting.figures.labels import HALO, place_labels, short_names
from mecheval_jax.reporting.figures.look import styled
from mecheval_jax.reporting.numbers import interval, number, percent
from mecheval_jax.reporting.words import look_up_words, site_words
from mecheval_jax.site_path import SitePath
from mecheval_jax.store.row_selection import attributions

ROLE_ORDER = EvaluationConfig.roles
COMPONENT_ORDER = ("embedding", *COMPONENTS, "final_norm")
"""Components in the order in which a model computes them."""


@styled
def accuracy_over_steps(
    runs: Mapping[str, Sequence[Mapping[str, Any]]], floors: Mapping[str, float]
) -> Figure:
    """Accuracy on training and dev documents over steps, 0 to 100 %.

    Args:
        runs: Rows of ``metrics.jsonl``, by the name of the run.
        floors: Accuracy of the best heuristic of a run's task, by the name of the run, if known.
    """
    several = len(runs) > 1
    rows = math.ceil(len(runs) / 2) if several else 0
    figure, axes = drawing.one_axes(7.2, 3.8 + 0.22 * rows)
    # For one run, colours distinguish training and dev; for several, colours distinguish the runs,
    # and strokes training and dev.
    train = {"linestyle": ":", "linewidth": 1.2} if several else {"linewidth": 1.0}
    entries: list[tuple[str, Line2D]] = []
    for index, (name, metrics) in enumerate(runs.items()):
        dev = {"linewidth": 2.0, "zorder": 3} | drawing.colour_and_sparse_marks(index)
        own = dev if several else dev | {"color": COLOURS[1]}
        train |= {"color": own["color"], "alpha": 0.6, "zorder": 3}
        for split, style in (("train", train), ("dev", own)):
            chosen = [row for row in metrics if row.get("split") == split and "accuracy" in row]
            steps, shares = ([row[field] for row in chosen] for field in ("step", "accuracy"))
            (drawn,) = axes.plot(steps, shares, **drawing.alone(steps) | style)
            words = zip(steps, shares, strict=True)
            texts = [f"{name}, {split}, step {s:,}: {percent(share)}" for s, share in words]
            drawing.annotate(axes, steps, shares, texts)
            if not several or split == "dev":
                entries.append((name if several else split, drawn))
    told = {f"floor, {floor:.1%}": floor for floor in sorted(floors.values())}
    for text, floor in told.items():
        entries.append((text, axes.axhline(floor, **FLOOR, zorder=2)))
    axes.set(xlabel="training step", ylabel="accuracy")
    scales.accuracy_axis(axes)
    scales.step_axis(axes)
    if several:
        key = Line2D([], [], color=FLOOR["color"], linestyle=":")
        entries.append(("dotted: training", key))
    legends.name_lines(figure, axes, entries)
    return figure


@styled
def attribution_heat_map(table: pd.DataFrame, corruption: str, direction: str) -> Figure:
    """Attributions, layers x roles of every component; colours end at -1 and 1, numbers do not.

    A grey hatched cell has no value: the role is absent or the gap too small to divide by.

    Args:
        table: Rows of ``interchange.csv`` at one step.
        corruption: Corruption whose rows are drawn.
        direction: Direction whose rows are drawn.
    """
    # Sites outside the layers, such as the embedding, have no layer and come first.
    rows = attributions(table, corruption, direction).fillna({"layer": -1})
    components = _in_order(rows["component"], COMPONENT_ORDER)
    roles = _in_order(rows["role"], ROLE_ORDER)
    panels = {}
    for component in components:
        own = rows[rows["component"] == component].sort_values("layer", kind="stable")
        cells = drawing.cells_of(own, "layer", "role").reindex(columns=roles)
        panels[component] = cells.rename(index=lambda layer: "" if layer < 0 else int(layer))
    layers = max(((cells.index != "").sum() for cells in panels.values()), default=1)
    count, columns = max(len(panels), 1), drawing.across(len(panels))
    width = 1.2 + columns * (0.7 + 0.58 * max(len(roles), 3))
    height = 0.9 + math.ceil(count / columns) * (1.25 + 0.42 * layers)
    figure, grid = drawing.panels(count, columns, width, height)
    for axes, (component, cells) in zip(grid, panels.items(), strict=False):
        drawing.draw_cells(axes, cells, component.replace("_", " "), drawing.ATTRIBUTIONS)
        axes.set_ylabel("" if list(cells.index) == [""] else "layer")
    if not panels:
        grid[0].set_axis_off()
    verb = {RESTORE: "restored by clean", DAMAGE: "damaged by corrupted"}.get(direction, "")
    drawing.headline(figure, f"Answer {verb} activations, {corruption} corrupted")
    ticks = {"aspect": 22, "pad": 0.02, "ticks": (-1, -0.5, 0, 0.5, 1)}
    drawing.colour_bar(figure, grid, drawing.ATTRIBUTIONS, "attribution", **ticks)
    return figure


@styled
def layer_scatter(tables: Mapping[str, pd.DataFrame]) -> tuple[Figure, list[str]]:
    """Attribution at the value against that at the query, of a layer's input; a mark for each run.

    The layer is the first that can look up what another has bound (`readings.look_up_site`). This
    is the study's central figure: induction lies at the upper left, retrieval by the layer before,
    directly or from what its convolution has joined, at the lower right. If the next key restores
    instead of the value, because a short convolution binds there, the next key is drawn, as in the
    verdict.

    Args:
        tables: Rows of ``interchange.csv``, by the name of the run.

    Returns:
        The figure, and the names of the runs that have a mark: those for which the input of that
        layer was measured.
    """
    measured = {n: attributions(table, CORRUPTION, RESTORE) for n, table in tables.items()}
    sites = (look_up_site(rows["site"]) for rows in measured.values())
    site = min(filter(None, sites), key=lambda site: site.layer, default=None)
    later, earlier = look_up_words(site)
    points = {}
    for name, table in measured.items():
        rows = table.to_dict("records")
        value, query = bound(rows, site), at(rows, site, "query")
        if not any(pd.isna(row["value"]) for row in (value, query)):
            points[name] = (query, value)
    # The axes, with the mechanism of each corner.
    figure, axes = drawing.one_axes(7.2, 5.6)
    axes.set(
        xlabel=f"attribution at the query, input of {later}",
        ylabel=f"attribution at the value (or next key), input of {later}",
    )
    for line in (axes.axhline, axes.axvline):
        line(0, color=LINE_GREY, linewidth=0.8, zorder=1)
        line(RESTORED, color=GREY, linewidth=0.8, linestyle=":", zorder=1)
    words = (  # in the corners of whatever the axes hold
        (0.02, 0.98, "left", "top", "induction"),
        (0.98, 0.02, "right", "bottom", f"retrieved\nby {earlier}"),
        (0.02, 0.02, "left", "bottom", "neither yet\n(retrieved later, or not read)"),
    )
    style = {"color": DARK_GREY, "style": "italic", "path_effects": HALO, "zorder": 3}
    corners = [
        axes.text(x, y, text, ha=ha, va=va, transform=axes.transAxes, **style)
        for x, y, ha, va, text in words
    ]
    # The runs, with their intervals; runs that share a colour have different marks.
    mark = {"markersize": 8, "capsize": 2, "elinewidth": 1, "markeredgecolor": "white"}
    for index, point in enumerate(points.values()):
        x, y = ([row[end] for end in ("value", "low", "high")] for row in point)
        style = drawing.colour_and_marker(index)
        ends = drawing.around(*y), drawing.around(*x)
        axes.errorbar(x[0], y[0], *ends, zorder=4, **mark, **style)
    texts = [
        f"{name}: at the value {number(v['value'])} {interval(v)}, "
        f"at the query {number(q['value'])} {interval(q)}"
        for name, (q, v) in points.items()
    ]
    places = np.array([(q["value"], v["value"]) for q, v in points.values()]).reshape(-1, 2)
    drawing.annotate(axes, *places.T, texts)
    # Axes that hold all intervals, and the names.
    ends = np.array([[(row["low"], row["high"]) for row in point] for point in points.values()])
    ends = ends.astype(float).reshape(-1, 2, 2)
    across, outside = scales.limits(places[:, 0], ends[:, 0], (-0.3, 1.3))
    upwards, more = scales.limits(places[:, 1], ends[:, 1], (-0.3, 1.2))
    axes.set(xlim=across, ylim=upwards)
    scales.say_outside(axes, outside + more)
    place_labels(axes, list(short_names(figure, points).values()), places, corners)
    return figure, list(points)


def _in_order(present: Iterable[str], order: Sequence[str]) -> list[str]:
    """Names in an order; names that are not in it come last, in their own order."""
    place = {name: i for i, name in enumerate(order)}
    return sorted(dict.fromkeys(present), key=lambda name: place.get(name, len(place)))


@styled
def attribution_over_steps(
    table: pd.DataFrame,
    steps: Sequence[Mapping[str, Any]],
    transitions: Sequence[Mapping[str, Any]],
) -> Figure:
    """Attributions of the residual stream over training steps, with intervals, and accuracy.

    Args:
        table: Rows of ``interchange.csv`` at all steps.
        steps: The ``step`` and ``accuracy`` of each measured checkpoint.
        transitions: Transitions of the verdict; their intervals are shaded.
    """
    rows = attributions(table, CORRUPTION, RESTORE)
    site = look_up_site(rows["site"]) or _first_output(rows["site"])
    rows = rows[rows["site"] == str(site)]
    figure, axes = drawing.one_axes(7.2, 4.2)
    for index, (role, line) in enumerate(rows.groupby("role", sort=False)):
        style = drawing.colour_and_marker(index) | {"markersize": 4, "label": f"@{role}"}
        if line["value"].notna().any():
            drawing.line_with_band(axes, line, "step", {"alpha": 0.18, "linewidth": 0}, **style)
    # The accuracy beside them, and the transitions behind.
    of_steps = pd.DataFrame(list(steps))
    style = {"color": "black", "linestyle": "--", "linewidth": 1.5}
    axes.plot(of_steps["step"], of_steps["accuracy"], **style, label="accuracy")
    texts = [
        f"accuracy, step {row.step:,}: {percent(row.accuracy)}" for row in of_steps.itertuples()
    ]
    drawing.annotate(axes, of_steps["step"], of_steps["accuracy"], texts)
    last = of_steps["step"].max()
    for change in transitions:
        high = last if change["high"] is None else change["high"]
        axes.axvspan(change["low"], high, color=CHANGE, alpha=0.3, lw=0, zorder=0)
        text = axes.text(change["step"], 0.97, f"{change['after']} ", rotation=90, va="top")
        text.set(ha="right", fontsize="small", color=ON_CHANGE)
        text.set_transform(axes.get_xaxis_transform())  # a height of the axes, whatever they hold
    axes.axhline(RESTORED, color=GREY, linewidth=0.8, linestyle=":", zorder=1)
    # Axes that hold all intervals, and names of the lines.
    held, outside = scales.limits(rows["value"], rows[["low", "high"]], (-0.1, 1.35))
    scales.say_outside(axes, outside)
    place = "" if site is None else f" at {site_words(site.path)}"
    axes.set(xlabel="training step", ylabel=f"attribution{place}", ylim=held)
    axes.set_xlim(0, last + max(1, math.ceil(last / 50)))
    scales.step_axis(axes)
    legends.name_lines(figure, axes, legends.labelled(axes))
    return figure


def _first_output(sites: Iterable[str]) -> SitePath | None:
    """Output of the first layer among some sites; that layer cannot look up what is bound."""
    outputs = [site for site in map(SitePath.parse, sites) if site.component == "block_output"]
    return min(outputs, key=lambda site: site.layer, default=None)
