"""Agreement of estimates with what was measured, on fabricated effects."""

import dataclasses

import numpy as np
import pytest
import scipy.stats

from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.config import EvaluationConfig
from mecheval_jax.evaluation.patching.agreement import agreement_rows, attribution_rows
from mecheval_jax.evaluation.patching.effects import Effects
from mecheval_jax.reporting.figures import analyses
from mecheval_jax.store.columns import long_table

ONE_CELL = EvaluationConfig(
    documents=2, roles=("key",), corruptions=("key",), directions=("restore",), resamples=50
)


def fabricated(method, changes, runs=((0.9, 0.7), (0.1, 0.3))):
    """Effects at one role and corruption, to restore; `changes` by site and document."""
    changes = {site: np.array(values)[None, None, None] for site, values in changes.items()}
    present = np.ones((1, 2), bool)
    return Effects(
        method, "probability", ONE_CELL, np.array(runs), tuple(changes), present, changes
    )


def test_agreement_is_spearmans_over_cells_that_change():
    """Catches cells that flatter the correlation, and ranks of something else."""
    sites = [f"block_{i}/block_input" for i in range(5)]
    exact = dict(
        zip(sites, ([0.0, 0.0], [0.1, 0.3], [0.4, 0.2], [0.6, 0.2], [0.0, 0.1]), strict=True)
    )
    guess = dict(
        zip(sites, ([0.0, 0.0], [0.2, 0.1], [0.0, 0.0], [0.5, 0.5], [0.1, 0.9]), strict=True)
    )
    one, other = fabricated("exact", exact), fabricated("guess", guess)
    (row,) = agreement_rows(one, [other])
    means = [[np.mean(values[site]) for site in sites[1:]] for values in (exact, guess)]
    assert row["value"] == pytest.approx(scipy.stats.spearmanr(*means).statistic)
    assert row["cells"] == 4
    assert -1 <= row["low"] <= row["value"] <= row["high"] <= 1  # of two documents
    (same,) = agreement_rows(one, [one])
    assert same["value"] == pytest.approx(1)
    assert same["cells"] == 4
    # A method that finds nothing anywhere is compared over the cells in which another finds much.
    blind = fabricated("blind", {site: [0.0, 0.0] for site in sites})
    found = agreement_rows(one, [other, blind])
    assert {row["method"]: row["cells"] for row in found} == {"guess": 4, "blind": 4}
    with pytest.raises(UserError, match="guess has the sites"):
        list(agreement_rows(one, [fabricated("guess", {sites[0]: [0, 0]})]))


def test_completeness_is_the_share_of_the_gap_that_an_estimate_accounts_for():
    """Catches a mean of ratios, and a row of a method that does not aim at completeness."""
    exact = fabricated("exact", {"embedding": [0.1, 0.3], "final_norm": [0.2, 0.2]})
    # The gaps are 0.8 and 0.4.
    estimate = dataclasses.replace(exact, method="ig", whole=np.array([[0.8, 0.1]]))
    rows = list(agreement_rows(exact, [estimate, exact]))
    assert [(row["method"], row["metric"]) for row in rows] == [
        ("ig", "rank_correlation"),
        ("ig", "completeness"),
        ("exact", "rank_correlation"),
    ]
    assert rows[1]["value"] == pytest.approx(0.9 / 1.2)
    assert rows[1]["low"] <= rows[1]["value"] <= rows[1]["high"]


def test_nothing_can_be_told_without_a_gap():
    """Catches a division by a gap of nothing."""
    flat = fabricated("exact", {"embedding": [0.1, 0.2]}, runs=((0.5, 0.5), (0.5, 0.495)))
    (row,) = attribution_rows(flat)
    assert row["value"] is None
    assert row["documents"] == 2
    assert row["layer"] is None
    (agreed,) = agreement_rows(flat, [flat])
    assert agreed["value"] is None
    assert agreed["cells"] == 0


def test_the_figure_shows_what_was_measured():
    """Catches axes that are exchanged, and a correlation of another method."""
    sites = [f"block_{i}/block_input" for i in range(3)]
    changes = {
        "exact": ([0.1, 0.3], [0.4, 0.2], [0.6, 0.2]),
        "attribution_patching": ([0.1, 0.1], [0.2, 0.3], [0.5, 0.5]),
        "integrated_gradients": ([0.3, 0.1], [0.9, 0.3], [0.5, 0.2]),
    }
    all_effects = [
        fabricated(method, dict(zip(sites, values, strict=True)))
        for method, values in changes.items()
    ]
    found = [row for each in all_effects for row in attribution_rows(each)]
    agreement = agreement_rows(all_effects[0], all_effects[1:])
    figure = analyses.exact_against_gradient(
        long_table(found, {"run": "a"}), long_table(agreement, {"run": "a"})
    )
    assert len(figure.axes) == 2
    for axes, method, correlation in zip(figure.axes, list(changes)[1:], (1.0, 0.5), strict=True):
        (marks,) = (line for line in axes.get_lines() if line.get_label() == "@key")
        for drawn, name in zip(marks.get_data(), ("exact", method), strict=True):
            expected = [np.sum(values) / 1.2 for values in changes[name]]
            np.testing.assert_allclose(sorted(drawn), sorted(expected))
        assert method.replace("_", " ") in axes.get_title("left")
        assert f"rank correlation {correlation:.2f}" in axes.get_title("left")
