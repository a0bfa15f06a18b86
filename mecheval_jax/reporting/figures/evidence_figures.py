"""Figures of what can be read off the activations: probes, effective attention, logit lens."""

import math
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter

from mecheval_jax.reporting.figures.cells import draw_cells
from mecheval_jax.reporting.figures.drawing import (
    across,
    colour_and_marker,
    colour_bar,
    labelled,
    legend_below,
    one_axes,
    pale_grid,
    panels,
    styled,
)

MOST_NAMES = 48
"""With more tokens than this their positions are given, not their names."""


@styled
def probe_heat_map(table: pd.DataFrame, target: str) -> Figure:
    """Sites x roles: held-out accuracy of the probes of one target, and of their control.

    Args:
        table: rows of `evaluation.representations.probes.probe_rows`.
        target: whose probes are shown.
    """
    rows = table[table["target"] == target]
    sites, roles = (list(dict.fromkeys(rows[name])) for name in ("site", "role"))
    size = (2.6 + 1.3 * len(roles), 1.5 + 0.34 * len(sites))
    figure, both = panels(2, 2, *size, sharey=True)
    norm, colours = Normalize(0, 1, clip=True), matplotlib.colormaps["Blues"]
    titles = {"accuracy": "held-out accuracy", "control": "the same, labels shuffled"}
    for axes, (metric, title) in zip(both, titles.items(), strict=True):
        values = np.full((len(sites), len(roles)), np.nan)
        for row in rows[rows["metric"] == metric].to_dict("records"):
            number = np.nan if row["value"] is None else row["value"]
            values[sites.index(row["site"]), roles.index(row["role"])] = number
        draw_cells(axes, values, roles, sites, norm, colours)
        axes.set_title(title, loc="left")
    classes = int(rows["classes"].iloc[0])
    figure.suptitle(f"Linear probes of the {target}, {classes:,} classes", fontsize=12)
    return figure


@styled
def subspace_heat_map(table: pd.DataFrame) -> Figure:
    """Variables at places x subspaces: how often exchanging one gives the other's answer.

    Args:
        table: rows of `evaluation.representations.das.subspace_rows`.
    """
    table = table.assign(place=table["variable"] + ": " + table["site"] + " @" + table["role"])
    places, kinds = (list(dict.fromkeys(table[name])) for name in ("place", "subspace"))
    figure, axes = one_axes(3.6 + 0.9 * len(kinds), 1.6 + 0.34 * len(places))
    cells = table.pivot(index="place", columns="subspace", values="value").astype(float)
    values = cells.loc[places, kinds].to_numpy()
    titles = [kind.replace("_", " ") for kind in kinds]
    scale = Normalize(0, 1, clip=True)
    draw_cells(axes, values, titles, places, scale, matplotlib.colormaps["Blues"])
    dimensions = int(table["dimensions"].iloc[0])
    axes.set_title(f"Exchange accuracy, subspaces of {dimensions} dimensions", loc="left")
    return figure


@styled
def attention_images(matrices: Mapping[str, np.ndarray], tokens: Sequence[str]) -> Figure:
    """Which token is read at which, a panel for each mixer; rows read, columns are read.

    Every panel has its own scale, from 0 (or minus the largest, where there are negative entries)
    to its largest entry: sizes differ between mixers, and only where they lie can be compared.

    Args:
        matrices: title to a matrix [destination, source] of one document.
        tokens: names of its tokens; only as many as the matrices have are shown.
    """
    count = len(matrices)
    beside = across(count)
    length = max(len(matrix) for matrix in matrices.values())
    side = 1.3 + 0.14 * min(length, MOST_NAMES)
    size = (beside * side, math.ceil(count / beside) * side + 0.4)
    figure, images = panels(count, beside, *size)
    for axes, (title, matrix) in zip(images, matrices.items(), strict=True):
        _image(axes, np.asarray(matrix), tokens)
        axes.set_title(title, loc="left")
    signed = any((np.asarray(matrix) < 0).any() for matrix in matrices.values())
    scale = Normalize(-1 if signed else 0, 1)
    colours = matplotlib.colormaps["RdBu_r" if signed else "Reds"]
    label = "influence, as a share of the panel's largest"
    colour_bar(figure, images, ScalarMappable(scale, colours), label, aspect=24)
    # One scale of colours for all panels: white is 0 in both.
    for axes in images:
        axes.images[0].set(cmap=colours, norm=scale)
    return figure


def matrices_of(table: pd.DataFrame) -> tuple[dict[str, np.ndarray], list[str]]:
    """The matrices of a table of the analysis ``attention``, by title, and the tokens' names.

    Args:
        table: its rows, a number each: matrix, destination, source, source_token, value.
    """
    first = table.drop_duplicates("source").sort_values("source")
    tokens = [str(name) for name in first["source_token"]]
    matrices = {}
    for title, rows in table.groupby("matrix", sort=False):
        matrix = np.zeros((len(tokens),) * 2)
        matrix[rows["destination"], rows["source"]] = rows["value"]
        matrices[str(title)] = matrix
    return matrices, tokens


def _image(axes: Axes, matrix: np.ndarray, tokens: Sequence[str]) -> None:
    largest = np.abs(matrix).max()
    axes.imshow(matrix / (largest or 1), aspect="equal", interpolation="nearest")
    length = len(matrix)
    if length <= MOST_NAMES:
        places, names = range(length), list(tokens[:length])
        axes.set_xticks(places, names, rotation=90, fontsize=7)
        axes.set_yticks(places, names, fontsize=7)
    axes.tick_params(length=0)
    axes.set(xlabel="token that is read", ylabel="token that reads")


@styled
def lens_curves(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Probability and median rank of the answer after each layer, a line a run.

    Args:
        tables: name of the run to the rows of `evaluation.representations.logit_lens.lens_rows`.
    """
    figure, (left, right) = panels(2, 2, 8.6, 3.4)
    for index, (name, table) in enumerate(tables.items()):
        style = colour_and_marker(index)
        for axes, metric in ((left, "probability"), (right, "rank")):
            rows = table[table["metric"] == metric]
            # Layers count from 0, so what precedes all of them stands at -1.
            layers = pd.to_numeric(rows["layer"]).fillna(-1)
            axes.plot(layers, rows["value"], label=name, **style)
            axes.fill_between(layers, rows["low"], rows["high"], color=style["color"], alpha=0.2)
    left.set(ylim=(-0.02, 1.02), ylabel="probability of the answer")
    right.set(yscale="log", ylabel="median rank of the answer")
    right.yaxis.set_major_formatter(lambda rank, _: f"{rank:,.0f}")
    right.yaxis.set_minor_formatter(NullFormatter())
    right.invert_yaxis()
    for axes in (left, right):
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        axes.xaxis.set_major_formatter(lambda x, _: "embedding" if x == -1 else f"{x:.0f}")
        axes.set_xlabel("after layer")
        pale_grid(axes, "y")
    legend_below(figure, entries=labelled(left))
    return figure
