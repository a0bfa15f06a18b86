"""The figure that compares two sets of benchmarks: ratios of all quantities, with their spread."""

import pandas as pd
from matplotlib.figure import Figure

from mecheval_jax.reporting.figures import drawing, scales
from mecheval_jax.reporting.figures.look import styled


@styled
def ratios(table: pd.DataFrame) -> Figure:
    """Ratios after / before on a logarithmic axis, a line for each quantity.

    Args:
        table: Rows of `benchmarks.record.compare`; those whose spread excludes 1 are coloured.
    """
    figure, (axes,) = drawing.panels(1, 1, 7.2, 1.2 + 0.22 * max(len(table), 1))
    for place, row in enumerate(table.to_dict("records")):
        changed = not row["low"] <= 1 <= row["high"]
        style = drawing.colour_and_marker(0) if changed else {"color": drawing.GREY, "marker": "o"}
        axes.plot([row["low"], row["high"]], [place, place], color=style["color"], linewidth=1.5)
        axes.plot(row["ratio"], place, **drawing.MARK | style)
    names = table["part"] + ": " + table["what"] + ", " + table["quantity"]
    axes.set_yticks(range(len(table)), list(names), fontsize="small")
    axes.set_ylim(len(table) - 0.5, -0.5)
    axes.set(xscale="log", xlabel="after / before")
    scales.ratio_axis(axes.xaxis)
    axes.axvline(1, color=drawing.GREY, linewidth=1, zorder=0)
    scales.pale_grid(axes, "x")
    return figure
