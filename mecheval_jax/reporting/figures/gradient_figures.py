"""Figures of evidence by gradient: how far an estimate agrees, and what a circuit carries."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mecheval_jax.evaluation.patching.circuits import RANDOM
from mecheval_jax.evaluation.patching.effects import EXACT
from mecheval_jax.reporting.figures.drawing import (
    GREY,
    colour_and_marker,
    labelled,
    legend_below,
    one_axes,
    panels,
    styled,
)
from mecheval_jax.reporting.terminal.tables import interval, number


@styled
def exact_against_gradient(
    table: pd.DataFrame, agreement: pd.DataFrame, corruption: str, direction: str
) -> Figure:
    """Estimated against measured attributions, a panel a method and a mark a site and role.

    On the dashed line both are the same. The title gives the rank correlation.

    Args:
        table: rows of `effects.rows`, those of the method ``exact`` among them.
        agreement: rows of `effects.agreement`.
        corruption: which of the rows are drawn.
        direction: likewise.
    """
    chosen = _of(table, corruption=corruption, direction=direction)
    methods = [method for method in dict.fromkeys(chosen["method"]) if method != EXACT]
    cells = chosen.pivot(index=["site", "role"], columns="method", values="value").astype(float)
    cells = cells.dropna()
    roles = list(dict.fromkeys(chosen["role"]))
    low, high = (float(f(cells.to_numpy(), initial=edge)) for f, edge in ((np.min, 0), (np.max, 1)))
    margin = 0.06 * (high - low)
    columns = max(len(methods), 1)
    size = (0.8 + 3.9 * columns, 4.6)
    figure, of_methods = panels(columns, columns, *size, sharex=True, sharey=True)
    for axes, method in zip(of_methods, methods, strict=False):
        _scatter(axes, cells, method, roles)
        rows = _of(agreement, corruption=corruption, direction=direction, method=method)
        axes.set_title(_title(method, rows), loc="left")
        axes.set(
            xlim=(low - margin, high + margin),
            ylim=(low - margin, high + margin),
            aspect="equal",
            xlabel="attribution measured by interchange",
        )
    of_methods[0].set_ylabel("attribution estimated by gradient")
    legend_below(figure, 6, labelled(of_methods[0]))
    figure.suptitle(f"{corruption} corrupted, {direction}", fontsize=12)
    return figure


def _scatter(axes: Axes, cells: pd.DataFrame, method: str, roles: list[str]) -> None:
    axes.axline((0, 0), slope=1, color=GREY, linewidth=0.8, linestyle="--", zorder=1)
    for index, role in enumerate(roles):
        of_role = cells[cells.index.get_level_values("role") == role]
        axes.plot(
            of_role[EXACT],
            of_role[method],
            linestyle="none",
            **colour_and_marker(index),
            markersize=6,
            markeredgecolor="white",
            markeredgewidth=0.5,
            label=f"@{role}",
            zorder=2,
        )


def _title(method: str, rows: pd.DataFrame) -> str:
    name = method.replace("_", " ")
    if rows.empty:
        return name
    row = rows.to_dict("records")[0]
    return f"{name}\nrank correlation {number(row['value'])} {interval(row)}".rstrip()


@styled
def faithfulness_curves(table: pd.DataFrame, corruption: str) -> Figure:
    """Share of the answer that circuits recover over their number of edges.

    The band of a ranking is its interval over documents, that of random edges their spread.

    Args:
        table: rows of `circuits.faithfulness_rows`, of one ranking or of several; where those
            have random circuits of their own, the first ranking's are drawn.
        corruption: which of the rows are drawn.
    """
    figure, axes = one_axes(6.4, 4.2)
    chosen = _of(table, corruption=corruption)
    names = [name for name in dict.fromkeys(chosen["circuit"]) if name != RANDOM]
    for index, name in enumerate((RANDOM, *names)):
        rows = _of(chosen, circuit=name).drop_duplicates("edges").sort_values("edges")
        value, low, high = (rows[column].astype(float) for column in ("value", "low", "high"))
        random = name == RANDOM
        style = {"color": GREY} if random else colour_and_marker(index - 1)
        axes.fill_between(rows["edges"], low, high, color=style["color"], alpha=0.25, linewidth=0)
        label = "random edges" if random else f"best edges by {name.replace('_', '-').upper()}"
        axes.plot(rows["edges"], value, **style, markersize=4, label=label)
    for level in (0, 1):
        axes.axhline(level, color="#d0d0d0", linewidth=0.8, zorder=0)
    axes.set(xlabel="edges in the circuit", ylabel="share of the answer recovered")
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.set_title(f"{corruption} corrupted", loc="left")
    legend_below(figure, len(names) + 1)
    return figure


def _of(table: pd.DataFrame, **values: str) -> pd.DataFrame:
    """The rows that have these values."""
    chosen = np.ones(len(table), bool)
    for column, value in values.items():
        chosen &= (table[column] == value).to_numpy()
    return table.loc[chosen]
