"""Figures of evidence by gradient: how far an estimate agrees, and what a circuit carries."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mecheval_jax.evaluation.patching.circuits import RANDOM
from mecheval_jax.evaluation.patching.effects import EXACT
from mecheval_jax.reporting.figures import drawing
from mecheval_jax.reporting.terminal.tables import interval, number, rows_with


@drawing.styled
def exact_against_gradient(
    table: pd.DataFrame, agreement: pd.DataFrame, corruption: str, direction: str
) -> Figure:
    """Estimated against measured attributions, a panel a method and a mark a site and role.

    On the dashed line both are the same. The title gives the rank correlation.

    Args:
        table: Rows of `effects.rows`, those of the method ``exact`` among them.
        agreement: Rows of `effects.agreement`.
        corruption: Corruption whose rows are drawn.
        direction: Direction whose rows are drawn.
    """
    place = {"corruption": corruption, "direction": direction}
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
        for row in rows_with(agreement, **place, method=method).head(1).to_dict("records"):
            title += f"\nrank correlation {number(row['value'])} {interval(row)}".rstrip()
        axes.set_title(title, loc="left")
        axes.set(xlim=limits, ylim=limits, aspect="equal")
        axes.set_xlabel("attribution measured by interchange")
    of_methods[0].set_ylabel("attribution estimated by gradient")
    drawing.legend_below(figure, 6, drawing.labelled(of_methods[0]))
    figure.suptitle(f"{corruption} corrupted, {direction}", fontsize=12)
    return figure


@drawing.styled
def faithfulness_curves(table: pd.DataFrame, corruption: str) -> Figure:
    """Share of the answer that circuits recover over their number of edges.

    The band of a ranking is its interval over documents, that of random edges their spread.

    Args:
        table: Rows of `circuits.faithfulness_rows`, of one ranking or of several; where those
            have random circuits of their own, the first ranking's are drawn.
        corruption: Corruption whose rows are drawn.
    """
    figure, axes = drawing.one_axes(6.4, 4.2)
    chosen = rows_with(table, corruption=corruption)
    names = [name for name in chosen["circuit"].unique() if name != RANDOM]
    styles = {RANDOM: {"color": drawing.GREY, "label": "random edges"}} | {
        name: drawing.colour_and_marker(index)
        | {"label": f"best edges by {name.replace('_', '-').upper()}"}
        for index, name in enumerate(names)
    }
    for name, style in styles.items():
        rows = rows_with(chosen, circuit=name).drop_duplicates("edges").sort_values("edges")
        band = {"alpha": 0.25, "linewidth": 0}
        drawing.line_with_band(axes, rows, "edges", band, markersize=4, **style)
    for level in (0, 1):
        axes.axhline(level, color="#d0d0d0", linewidth=0.8, zorder=0)
    axes.set(xlabel="edges in the circuit", ylabel="share of the answer recovered")
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.set_title(f"{corruption} corrupted", loc="left")
    drawing.legend_below(figure, len(names) + 1)
    return figure
