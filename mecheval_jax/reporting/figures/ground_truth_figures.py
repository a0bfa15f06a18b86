"""The figure of the ladder of known circuits: methods on planted models, and verdicts."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mecheval_jax.evaluation.verdict.rule import CLASSES
from mecheval_jax.reporting.figures import drawing
from mecheval_jax.reporting.figures.analyses import RANKINGS
from mecheval_jax.reporting.figures.look import styled


@styled
def ladder_figure(edges: pd.DataFrame | None, confusion: pd.DataFrame | None) -> Figure:
    """How well known circuits are found: edges of planted models, and verdicts on trained ones.

    The first panel shows how well each method ranks the known edges of models whose weights were
    made for a mechanism (AUROC, the area under the ROC curve), the second the share of its effect
    that the method gives to the known edge of which it gives least. The third shows which verdicts
    models got that were trained to a mechanism.

    Args:
        edges: Rows of `ground_truth.ladder.grade_edges`; None to leave two panels out.
        confusion: Rows of `ground_truth.judging.confusion_rows`; None to leave the last panel out.
            It is left out as well if no model has reached its mechanism.
    """
    if confusion is not None and not confusion["reached"].any():
        confusion = None
    parts = [(_draw_ranks, edges), (_draw_shares, edges), (_draw_confusion, confusion)]
    shown = [(draw, table) for draw, table in parts if table is not None]
    count = max(len(shown), 1)
    figure, every = drawing.panels(count, count, 5.6 * count, 4.2)
    for axes, (draw, table) in zip(every, shown, strict=False):
        draw(axes, table)
    if not shown:
        every[0].set_axis_off()
    return figure


def _draw_ranks(axes: Axes, table: pd.DataFrame) -> None:
    _draw_edges(axes, table, "auroc", "Known edges, AUROC")


def _draw_shares(axes: Axes, table: pd.DataFrame) -> None:
    _draw_edges(axes, table, "recovered", "Known edges, least share of an effect")


def _draw_edges(axes: Axes, table: pd.DataFrame, metric: str, title: str) -> None:
    shown = table[(table["metric"] == metric) & table["method"].isin(list(RANKINGS))]
    means = shown.groupby(["kind", "method"], sort=False)["value"].mean().reset_index()
    names = means.assign(method=means["method"].map(RANKINGS))
    drawing.draw_cells(axes, drawing.cells_of(names, "kind", "method"), title)


def _draw_confusion(axes: Axes, table: pd.DataFrame) -> None:
    rows = table[(table["mixer"] != "all") & (table["reached"] > 0)]
    found = [name for name in CLASSES if rows[name].any()]
    trained = rows["mixer"] + " to " + rows["trained_to"].str.replace("_", " ")
    shares = rows[found].div(rows[list(CLASSES)].sum(axis=1), axis=0).set_axis(trained, axis=0)
    shares.columns = [name.replace("_", " ") for name in found]
    drawing.draw_cells(axes, shares, "Verdicts on models trained to a mechanism")
