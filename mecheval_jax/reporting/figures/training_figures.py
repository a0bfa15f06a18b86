"""The figure of a mechanism over training: attributions and accuracy beside them."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from mecheval_jax.evaluation.verdict.evidence import CORRUPTION
from mecheval_jax.evaluation.verdict.rule import RESTORED
from mecheval_jax.reporting.figures.drawing import COLOURS, MARKERS, one_axes, step_axis, styled
from mecheval_jax.reporting.terminal.tables import LOOK_UP, attributions
from mecheval_jax.site_path import SitePath

OUTPUT = SitePath(0, "block_output").path


@styled
def attribution_over_steps(
    table: pd.DataFrame,
    steps: Sequence[Mapping[str, Any]],
    transitions: Sequence[Mapping[str, Any]],
) -> Figure:
    """Attributions of the residual stream over training steps, with intervals, and accuracy.

    Args:
        table: rows of ``interchange.csv`` at all steps.
        steps: ``step`` and ``accuracy`` of each.
        transitions: of the verdict; their intervals are shaded.
    """
    rows = attributions(table, CORRUPTION, "restore")
    site = LOOK_UP if LOOK_UP in set(rows["site"]) else OUTPUT
    rows = rows[rows["site"] == site]
    figure, axes = one_axes(7.2, 4.2)
    for index, (role, line) in enumerate(rows.groupby("role", sort=False)):
        if line["value"].isna().all():
            continue
        colour = COLOURS[index % len(COLOURS)]
        axes.fill_between(line["step"], line["low"], line["high"], color=colour, alpha=0.18, lw=0)
        axes.plot(
            line["step"],
            line["value"],
            color=colour,
            marker=MARKERS[index % len(MARKERS)],
            markersize=4,
            label=f"@{role}",
        )
    axes.plot(
        [row["step"] for row in steps],
        [row["accuracy"] for row in steps],
        color="black",
        linestyle="--",
        linewidth=1.5,
        label="accuracy",
    )
    last = max(row["step"] for row in steps)
    for change in transitions:
        high = last if change["high"] is None else change["high"]
        axes.axvspan(change["low"], high, color="#f0d9a0", alpha=0.45, lw=0, zorder=0)
        text = axes.text(change["step"], 1.3, f"{change['after']} ", rotation=90, va="top")
        text.set(ha="right", fontsize=8, color="#6b5200")
    axes.axhline(RESTORED, color="#909090", linewidth=0.8, linestyle=":", zorder=1)
    ends = pd.concat([rows["low"], rows["high"]]).dropna()
    low = min(-0.1, max(-1.0, ends.min() if len(ends) else 0.0))
    place = "input of layer 1" if site == LOOK_UP else "output of layer 0"
    axes.set(xlabel="training step", ylabel=f"attribution at the {place}", ylim=(low, 1.35))
    axes.set_xlim(0, last + max(1, math.ceil(last / 50)))
    step_axis(axes)
    figure.legend(loc="outside lower center", ncols=6, frameon=False)
    return figure
