"""The ladder of known circuits in the terminal: a table for each rung."""

from collections.abc import Mapping

import pandas as pd

from mecheval_jax.evaluation.verdict.rule import CLASSES
from mecheval_jax.reporting.figures.analyses import RANKINGS
from mecheval_jax.reporting.numbers import interval, number
from mecheval_jax.reporting.terminal.narrow import print_table
from mecheval_jax.reporting.terminal.tables import output, plain_table


def show_ladder(tables: Mapping[str, pd.DataFrame]) -> None:
    """Print the tables of `ground_truth.ladder.climb` that are there."""
    console = output()
    if "edges" in tables:
        words = ("model", "ranked by")
        shown = plain_table((*words, "edges", "AUROC", "least", "share of\nan effect"), words)
        for (kind, method), rows in tables["edges"].groupby(["kind", "method"], sort=False):
            ranked, shares = (
                rows.loc[rows["metric"] == metric, "value"] for metric in ("auroc", "recovered")
            )
            numbers = map(number, (ranked.mean(), ranked.min(), shares.mean()))
            label = RANKINGS.get(str(method), f"{method} order")
            shown.add_row(str(kind), label, str(rows["edges"].iloc[0]), *numbers)
        print_table(console, shown)
    if "subspaces" in tables:
        words = ("planted subspace",)
        shown = plain_table((*words, "mean", "least", "greatest"), words)
        for metric, rows in tables["subspaces"].groupby("metric", sort=False):
            ends = (rows["value"].mean(), rows["value"].min(), rows["value"].max())
            shown.add_row(str(metric).replace("_", " "), *map(number, ends))
        print_table(console, shown)
    if "confusion" in tables:
        words = ("architecture", "trained to")
        found = [name for name in CLASSES if tables["confusion"][name].any()]
        shown = plain_table((*words, *found, "right", "[95 %]"), words)
        for row in tables["confusion"].to_dict("records"):
            counts = (str(row[name]) for name in found)
            shown.add_row(
                row["mixer"], row["trained_to"], *counts, number(row["right"]), interval(row)
            )
        print_table(console, shown)
