"""The figure of each analysis, drawn from its tables alone."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter

from mecheval_jax.console import printable
from mecheval_jax.evaluation.patching.circuits import RANDOM
from mecheval_jax.evaluation.patching.effects import EXACT
from mecheval_jax.reporting.figures import drawing, legends, memory_figures, scales
from mecheval_jax.reporting.figures.look import look, styled
from mecheval_jax.reporting.numbers import interval, number
from mecheval_jax.store.row_selection import rows_with

RANKINGS = {
    EXACT: "their measured effect",
    "eap": "EAP",
    "eap_ig": "EAP-IG",
    "eap_ig_activations": "EAP-IG over activations",
    "atp_star": "AtP*",
}
"""Names of the methods that rank edges."""

MOST_NAMES = 48
"""Number of tokens above which their positions are shown, not their names."""

MOST_LETTERS = 14
"""Number of letters above which the name of a token is shortened."""

SMALLEST = 6.0
"""Points of the names of tokens at least."""

ROOM = 45.0
"""Points of an inch of a panel that names of tokens can take side by side."""

FEWEST_ROWS = 14
"""Number of tokens for which a panel has room at least, since its axes have names, too."""


@styled
def probe_heat_map(table: pd.DataFrame, target: str) -> Figure:
    """Held-out accuracy, sites x roles, of the probes of one target and of their control.

    Args:
        table: Rows of `evaluation.representations.probes.probe_rows`.
        target: Target whose probes are shown.
    """
    rows = table[table["target"] == target]
    size = (2.6 + 1.3 * max(rows["role"].nunique(), 2), 1.5 + 0.34 * rows["site"].nunique())
    figure, both = drawing.panels(2, 2, *size, sharey=True)
    titles = {"accuracy": "held-out accuracy", "control": "labels shuffled"}
    for axes, (metric, title) in zip(both, titles.items(), strict=True):
        cells = drawing.cells_of(rows_with(rows, metric=metric), "site", "role")
        drawing.draw_cells(axes, cells, title)
    classes = int(rows["classes"].iloc[0])
    drawing.headline(figure, f"Linear probes of the {target}, {classes:,} classes")
    return figure


def shown_target(table: pd.DataFrame) -> str:
    """The target whose probes are drawn: the value or, where that was not asked for, the first."""
    targets = table["target"]
    return "value" if (targets == "value").any() else str(targets.iloc[0])


@styled
def subspace_heat_map(table: pd.DataFrame) -> Figure:
    """Exchange accuracy, variables at their places x kinds of subspaces.

    Args:
        table: Rows of `evaluation.representations.das.subspace_rows`.
    """
    place = table["variable"] + ": " + table["site"] + " @" + table["role"]
    kind = table["subspace"].str.replace("_", " ")
    cells = drawing.cells_of(table.assign(place=place, kind=kind), "place", "kind")
    figure, axes = drawing.one_axes(3.6 + 0.9 * len(cells.columns), 1.6 + 0.34 * len(cells))
    dimensions = int(table["dimensions"].iloc[0])
    drawing.draw_cells(axes, cells, f"Exchange accuracy, subspaces of {dimensions} dimensions")
    return figure


@styled
def attention_images(matrices: Mapping[str, np.ndarray], tokens: Sequence[str]) -> Figure:
    """Mixing matrices as images, a panel for each mixer; rows read, columns are read.

    Every panel has its own scale, from 0 (or minus the largest entry, if there are negative ones)
    to its largest entry: magnitudes differ between mixers, so only positions can be compared.

    Args:
        matrices: Matrices [destination, source] of one document, by title.
        tokens: Names of the document's tokens; only the first, as many as a matrix has, are shown,
            long ones by their first letters.
    """
    beside = drawing.across(len(matrices))
    longest = max(len(matrix) for matrix in matrices.values())
    side = 1.3 + 0.14 * min(max(longest, FEWEST_ROWS), MOST_NAMES)
    size = (beside * side, math.ceil(len(matrices) / beside) * side + 0.4)
    figure, images = drawing.panels(len(matrices), beside, *size)
    across = images[0].get_gridspec().ncols
    letters = max(SMALLEST, 0.694 * look().font_size)
    # All panels share one scale of colours: white is 0 with and without negative entries.
    signed = any((np.asarray(matrix) < 0).any() for matrix in matrices.values())
    scale = ScalarMappable(Normalize(-1 if signed else 0, 1), "RdBu_r" if signed else "Reds")
    for axes, (title, matrix) in zip(images, matrices.items(), strict=True):
        share = np.asarray(matrix) / (np.abs(matrix).max() or 1)
        axes.imshow(share, scale.cmap, scale.norm, aspect="equal", interpolation="nearest")
        if (
            len(share) <= MOST_NAMES
            and letters * len(share) < ROOM * figure.get_figwidth() / across
        ):
            places, names = range(len(share)), [_shortened(each) for each in tokens[: len(share)]]
            axes.set_xticks(places, names, rotation=90, fontsize=letters)
            axes.set_yticks(places, names, fontsize=letters)
        axes.tick_params(length=0)
        axes.set(xlabel="token that is read", ylabel="token that reads")
        axes.set_title(title, loc="left")
    drawing.colour_bar(figure, images, scale, "share of the largest influence", aspect=24)
    return figure


def _shortened(name: str) -> str:
    """A token's name as it stands beside an image."""
    return name if len(name) <= MOST_LETTERS else f"{name[: MOST_LETTERS - 1]}…"


def matrices_of(table: pd.DataFrame) -> tuple[dict[str, np.ndarray], list[str]]:
    """The matrices in a table of the analysis ``attention``, by title, and the tokens' names.

    Args:
        table: Rows of the table, a number each: matrix, destination, source, source_token, value.
    """
    first = table.drop_duplicates("source").sort_values("source")
    tokens = [printable(str(name)) for name in first["source_token"]]
    places = {"index": "destination", "columns": "source", "values": "value"}
    by_title = table.groupby("matrix", sort=False)
    matrices = {str(title): rows.pivot(**places).fillna(0) for title, rows in by_title}
    return {title: matrix.to_numpy() for title, matrix in matrices.items()}, tokens


@styled
def lens_curves(table: pd.DataFrame) -> Figure:
    """Probability and median rank of the answer after each layer.

    Args:
        table: Rows of `evaluation.representations.logit_lens.lens_rows`, with the ``mixer``.
    """
    figure, (left, right) = drawing.panels(2, 2, 8.6, 3.4)
    # Layers count from 0, so the embedding, before all of them, is at -1.
    rows = table.assign(layer=pd.to_numeric(table["layer"]).fillna(-1))
    mixer = str(table["mixer"].iloc[0])
    style = drawing.mixer_styles([mixer])[mixer] | {"label": mixer}
    for axes, metric in ((left, "probability"), (right, "rank")):
        of_metric = rows[rows["metric"] == metric]
        drawing.line_with_band(axes, of_metric, "layer", {"alpha": 0.2}, **style)
    left.set(ylim=(-0.02, 1.02), ylabel="probability of the answer")
    right.set(yscale="log", ylabel="median rank of the answer")
    right.yaxis.set_major_formatter("{x:,.0f}")
    right.yaxis.set_minor_formatter(NullFormatter())
    right.invert_yaxis()
    for axes in (left, right):
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        axes.xaxis.set_major_formatter(_layer_name)
        axes.set_xlabel("after layer")
        scales.pale_grid(axes, "y")
    drawing.headline(figure, mixer)
    return figure


def _layer_name(layer: float, _: int | None) -> str:
    return "embedding" if layer == -1 else f"{layer:.0f}"


@styled
def exact_against_gradient(table: pd.DataFrame, agreement: pd.DataFrame) -> Figure:
    """Estimated against measured attributions, a panel for each method, a mark for a site and role.

    They are those of the first corruption and direction of the table. On the dashed line both are
    equal. The title gives the rank correlation and, of integrated gradients, how complete they are.

    Args:
        table: Rows of `agreement.attribution_rows`, those of the method ``exact`` among them.
        agreement: Rows of `agreement.agreement_rows`.
    """
    place = table[["corruption", "direction"]].iloc[0].to_dict()
    chosen = rows_with(table, **place)
    cells = chosen.pivot(index=["site", "role"], columns="method", values="value").astype(float)
    cells = cells.dropna().reset_index("role")
    methods = [method for method in chosen["method"].unique() if method != EXACT]
    values = cells.drop(columns="role").to_numpy()
    low, high = values.min(initial=0), values.max(initial=1)
    limits = (low - 0.06 * (high - low), high + 0.06 * (high - low))
    columns = max(len(methods), 1)
    size = (0.8 + 3.9 * columns, 4.6)
    figure, of_methods = drawing.panels(columns, columns, *size, sharex=True, sharey=True)
    for axes, method in zip(of_methods, methods, strict=False):
        line = {"color": drawing.GREY, "linewidth": 0.8, "linestyle": "--"}
        axes.axline((0, 0), slope=1, **line, zorder=1)
        for index, role in enumerate(chosen["role"].unique()):
            own = cells[cells["role"] == role]
            style = drawing.MARK | drawing.colour_and_marker(index)
            axes.plot(own[EXACT], own[method], **style, label=f"@{role}", zorder=2)
        title = method.replace("_", " ")
        for row in rows_with(agreement, **place, method=method).to_dict("records"):
            named = row["metric"].replace("_", " ")
            title += f"\n{named} {number(row['value'])} {interval(row)}".rstrip()
        axes.set_title(title, loc="left")
        axes.set(xlim=limits, ylim=limits, aspect="equal")
        axes.set_xlabel("attribution measured by interchange")
    of_methods[0].set_ylabel("attribution estimated by gradient")
    legends.legend_below(figure, 6, legends.labelled(of_methods[0]))
    drawing.headline(figure, "{corruption} corrupted, {direction}".format(**place))
    return figure


@styled
def faithfulness_curves(table: pd.DataFrame) -> Figure:
    """Share of the answer that circuits recover, over their number of edges.

    It is drawn for the first corruption of the table.

    The band of a ranking is its interval over documents, that of random edges their range.

    Args:
        table: Rows of `circuits.faithfulness_rows`, of one or several rankings; random circuits are
            drawn for the first ranking.
    """
    figure, axes = drawing.one_axes(6.4, 4.2)
    corruption = table["corruption"].iloc[0]
    chosen = rows_with(table, corruption=corruption)
    names = [name for name in chosen["circuit"].unique() if name != RANDOM]
    styles = {RANDOM: {"color": drawing.GREY, "label": "random edges"}} | {
        name: drawing.colour_and_marker(index)
        | {"label": f"best edges by {RANKINGS.get(name, name)}"}
        for index, name in enumerate(names)
    }
    for name, style in styles.items():
        rows = rows_with(chosen, circuit=name).drop_duplicates("edges").sort_values("edges")
        band = {"alpha": 0.25, "linewidth": 0}
        drawing.line_with_band(axes, rows, "edges", band, markersize=4, **style)
    for level in (0, 1):
        axes.axhline(level, color=drawing.LINE_GREY, linewidth=0.8, zorder=0)
    axes.set(xlabel="edges in the circuit", ylabel="share of the answer recovered")
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.set_title(f"{corruption} corrupted", loc="left")
    legends.legend_below(figure, len(names) + 1)
    return figure


Tables = Mapping[str, pd.DataFrame]

FIGURES: dict[str, Callable[[Tables], Figure]] = {
    "gradients": lambda tables: exact_against_gradient(
        tables["gradients"], tables["gradients_agreement"]
    ),
    "circuits": lambda tables: faithfulness_curves(tables["circuits"]),
    "probes": lambda tables: probe_heat_map(tables["probes"], shown_target(tables["probes"])),
    "subspaces": lambda tables: subspace_heat_map(tables["subspaces"]),
    "attention": lambda tables: attention_images(*matrices_of(tables["attention"])),
    "lens": lambda tables: lens_curves(tables["lens"]),
    "capacity": lambda tables: memory_figures.capacity_curve(tables["capacity"]),
    "generalization": lambda tables: memory_figures.generalization_bars(tables["generalization"]),
    "editing": lambda tables: memory_figures.editing_cells(tables["editing"]),
    "overwriting": lambda tables: memory_figures.overwriting_cells(tables["overwriting"]),
    "components": lambda tables: memory_figures.component_cells(tables["components"]),
}
"""Figure functions by the names of `evaluation.analyses.ANALYSES`."""
