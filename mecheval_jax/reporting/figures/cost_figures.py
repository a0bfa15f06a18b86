"""The figure of costs over lengths of context: time of each program, and size of the state."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from mecheval_jax.reporting.figures import drawing, legends, scales
from mecheval_jax.reporting.figures.look import styled
from mecheval_jax.reporting.numbers import quantity
from mecheval_jax.reporting.words import COST_TITLES

PANELS = (
    *(
        (name, "seconds_per_token", COST_TITLES[name], "time a token")
        for name in ("training", "prefill", "decode")
    ),
    (None, "state_bytes", COST_TITLES["state"], "size"),
)
"""Program, column, title and label of each panel."""

DASHES = ("-", "--", "-.", (0, (5, 1, 1, 1, 1, 1)))
"""Strokes of the models of one architecture."""


@styled
def cost_over_length(table: pd.DataFrame, crossovers: pd.DataFrame) -> Figure:
    """Costs of every model over the length of context, on double logarithmic axes.

    Args:
        table: Rows of ``cost.csv``; rows without a measurement are left out.
        crossovers: Rows of ``crossovers.csv``, which are marked.
    """
    kinds = set(table["program"])
    shown = [panel for panel in PANELS if panel[0] is None or panel[0] in kinds]
    figure, every = drawing.panels(len(shown), 2, 8.4, 3.3 * ((len(shown) + 1) // 2))
    styles = _styles(table)
    for axes, (program, column, title, label) in zip(every, shown, strict=True):
        rows = table[table["program"] == (program or table["program"].iloc[0])]
        for name, style in styles.items():
            line = rows[rows["model"] == name].dropna(subset=[column]).sort_values("length")
            axes.plot(line["length"], line[column], **style, label=name)
            unit = "B" if program is None else "s"
            texts = [
                f"{name}, {length:,} tokens: {quantity(value, unit)}"
                for length, value in zip(line["length"], line[column], strict=True)
            ]
            drawing.annotate(axes, line["length"], line[column], texts)
            if column == "seconds_per_token" and len(line):
                scale = line[column] / line["seconds"]
                band = {"color": style["color"], "alpha": 0.18, "linewidth": 0}
                axes.fill_between(line["length"], line["low"] * scale, line["high"] * scale, **band)
        _mark_crossovers(axes, crossovers, program, styles)
        _logarithmic(axes, sorted(set(table["length"])))
        axes.yaxis.set_major_formatter(EngFormatter("B" if program is None else "s"))
        axes.set_title(title, loc="left")
        axes.set_ylabel(label)
        if rows[column].isna().all():  # such as the state of mixers without a recurrent form
            axes.set(yscale="linear", yticks=[])
            axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center")
    legends.legend_below(figure, 4, legends.labelled(every[0]))
    return figure


def _styles(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Style of each model: the colour of its architecture, and dashes for further widths of it."""
    models = table.drop_duplicates("model")
    of_mixers, met, styles = drawing.mixer_styles(models["mixer"]), Counter[str](), {}
    for name, mixer in models[["model", "mixer"]].itertuples(index=False):
        dashes = DASHES[met[mixer] % len(DASHES)]
        styles[name] = of_mixers[mixer] | {"linestyle": dashes, "markersize": 4, "linewidth": 1.5}
        met[mixer] += 1
    return styles


def _mark_crossovers(
    axes: Axes,
    crossovers: pd.DataFrame,
    program: str | None,
    styles: Mapping[str, Mapping[str, Any]],
) -> None:
    """Draw a dotted line, in a model's colour, where it becomes cheaper than the reference."""
    quantity = "state_bytes" if program is None else "seconds"
    rows = crossovers[crossovers["quantity"] == quantity]
    rows = rows if program is None else rows[rows["program"] == program]
    for _, row in rows.dropna(subset=["length"]).iterrows():
        colour = styles[row["model"]]["color"]
        axes.axvline(row["length"], color=colour, linestyle=":", linewidth=1.2, zorder=0)


def _logarithmic(axes: Axes, lengths: list[int]) -> None:
    axes.set(xscale="log", yscale="log", xlabel="length of context, tokens")
    if len(lengths) == 1 or axes.dataLim.minposx == np.inf:
        axes.set_xlim(lengths[0] / 2, lengths[-1] * 2)
    scales.few_decades(axes.yaxis)
    axes.minorticks_off()
    scales.spaced_ticks(axes, lengths, [f"{length:,}" for length in lengths])
    scales.pale_grid(axes, "y")
