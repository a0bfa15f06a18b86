"""The figure of each analysis, drawn from its tables alone."""

from collections.abc import Callable, Mapping

import pandas as pd
from matplotlib.figure import Figure

from mecheval_jax.reporting.figures import evidence_figures, gradient_figures

Tables = Mapping[str, pd.DataFrame]


def _gradients(tables: Tables) -> Figure:
    first = tables["gradients"].iloc[0]
    return gradient_figures.exact_against_gradient(
        tables["gradients"], tables["gradients_agreement"], first["corruption"], first["direction"]
    )


def _circuits(tables: Tables) -> Figure:
    table = tables["circuits"]
    return gradient_figures.faithfulness_curves(table, table["corruption"].iloc[0])


def _lens(tables: Tables) -> Figure:
    table = tables["lens"]
    return evidence_figures.lens_curves({table["mixer"].iloc[0]: table})


FIGURES: dict[str, Callable[[Tables], Figure]] = {
    "gradients": _gradients,
    "circuits": _circuits,
    "probes": lambda tables: evidence_figures.probe_heat_map(tables["probes"], "value"),
    "subspaces": lambda tables: evidence_figures.subspace_heat_map(tables["subspaces"]),
    "attention": lambda tables: evidence_figures.attention_images(
        *evidence_figures.matrices_of(tables["attention"])
    ),
    "lens": _lens,
}
"""By the names of `evaluation.analyses.ANALYSES`."""
