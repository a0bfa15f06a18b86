"""The figure of a mechanism over training: attributions and accuracy beside them."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from mecheval_jax.evaluation.verdict.evidence import CORRUPTION
from mecheval_jax.evaluation.verdict.readings import look_up_site
from mecheval_jax.evaluation.verdict.rule import RESTORED
from mecheval_jax.reporting.figures import drawing
from mecheval_jax.reporting.terminal.tables import attributions
from mecheval_jax.site_path import SitePath


@drawing.styled
def attribution_over_steps(
    table: pd.DataFrame,
    steps: Sequence[Mapping[str, Any]],
    transitions: Sequence[Mapping[str, Any]],
) -> Figure:
    """Attributions of the residual stream over training steps, with intervals, and accuracy.

    Args:
        table: Rows of ``interchange.csv`` at all steps.
        steps: The ``step`` and ``accuracy`` of each checkpoint that was looked at.
        transitions: Transitions of the verdict; their intervals are shaded.
    """
    rows = attributions(table, CORRUPTION, "restore")
    site = look_up_site(rows["site"]) or _first_output(rows["site"])
    rows = rows[rows["site"] == str(site)]
    figure, axes = drawing.one_axes(7.2, 4.2)
    for index, (role, line) in enumerate(rows.groupby("role", sort=False)):
        style = drawing.colour_and_marker(index) | {"markersize": 4, "label": f"@{role}"}
        if line["value"].notna().any():
            drawing.line_with_band(axes, line, "step", {"alpha": 0.18, "linewidth": 0}, **style)
    of_steps = pd.DataFrame(list(steps))
    style = {"color": "black", "linestyle": "--", "linewidth": 1.5}
    axes.plot(of_steps["step"], of_steps["accuracy"], **style, label="accuracy")
    last = of_steps["step"].max()
    for change in transitions:
        high = last if change["high"] is None else change["high"]
        axes.axvspan(change["low"], high, color="#f0d9a0", alpha=0.45, lw=0, zorder=0)
        text = axes.text(change["step"], 1.3, f"{change['after']} ", rotation=90, va="top")
        text.set(ha="right", fontsize=8, color="#6b5200")
    axes.axhline(RESTORED, color=drawing.GREY, linewidth=0.8, linestyle=":", zorder=1)
    ends = pd.concat([rows["low"], rows["high"]]).dropna()
    low = min(-0.1, max(-1.0, ends.min() if len(ends) else 0.0))
    place = "" if site is None else f" at the {site.component[6:]} of layer {site.layer}"
    axes.set(xlabel="training step", ylabel=f"attribution{place}", ylim=(low, 1.35))
    axes.set_xlim(0, last + max(1, math.ceil(last / 50)))
    drawing.step_axis(axes)
    drawing.legend_below(figure, 6)
    return figure


def _first_output(sites: Iterable[str]) -> SitePath | None:
    """Of some sites the output of the first layer, for models in which no layer can look up."""
    outputs = [site for site in map(SitePath.parse, sites) if site.component == "block_output"]
    return min(outputs, key=lambda site: site.layer, default=None)
