"""The figure of the ladder: its numbers are those of the tables."""

import numpy as np
import pandas as pd

from mecheval_jax.ground_truth.judging import confusion_rows
from mecheval_jax.reporting.figures.ground_truth_figures import ladder_figure

EDGES = pd.DataFrame(
    [
        {"kind": kind, "seed": seed, "method": method, "metric": metric, "value": value}
        for kind, method, metric, values in (
            ("induction", "exact", "auroc", (1.0, 1.0)),
            ("induction", "eap", "auroc", (0.5, 0.7)),
            ("induction", "eap", "recovered", (0.1, 0.3)),
            ("induction", "random", "auroc", (0.4, 0.6)),
            ("convolution", "exact", "auroc", (0.9, 1.0)),
        )
        for seed, value in enumerate(values)
    ]
)
CONFUSION = pd.DataFrame(
    confusion_rows(
        [
            {"mixer": "mamba", "trained_to": "induction", "verdict": verdict, "grade": grade}
            for verdict, grade in (
                ("induction", "right"),
                ("induction", "right"),
                ("mixed", "wrong"),
                ("mixed", "not reached"),
            )
        ]
    )
)


def test_cells_are_means_and_shares():
    """Catches a panel of other rows, and shares that do not add up."""
    left, middle, right = ladder_figure(EDGES, CONFUSION).axes
    means = np.ma.filled(left.images[0].get_array(), np.nan)
    np.testing.assert_allclose(means, [[1.0, 0.6], [0.95, np.nan]])
    np.testing.assert_allclose(middle.images[0].get_array(), [[0.2]])
    np.testing.assert_allclose(right.images[0].get_array(), [[2 / 3, 1 / 3]])
    assert [label.get_text() for label in right.get_xticklabels()] == ["induction", "mixed"]


def test_a_panel_may_be_missing():
    """Catches a figure that needs every rung."""
    assert len(ladder_figure(EDGES, None).axes) == 2
    assert len(ladder_figure(None, CONFUSION).axes) == 1
    ladder_figure(None, None)
    ladder_figure(None, CONFUSION.assign(reached=0))
