"""Numbers of rows of results."""

import numpy as np
import pandas as pd
import pytest

from mecheval_jax.statistics.moderated import UNKNOWN
from mecheval_jax.study.measured import (
    MODEL,
    failures,
    falls_of,
    pairs_of,
    prior_within,
    shares_of,
)
from mecheval_jax.study.results import INPUT, column_of

VALUE, QUERY = (column_of(INPUT, role) for role in ("value", "query"))


def models(values, column=VALUE, half=0.0392):
    table = pd.DataFrame({name: ["x"] * len(values) for name in MODEL})
    table["seed"] = range(len(values))
    table[column] = values
    return table.assign(
        **{f"{column}_low": table[column] - half, f"{column}_high": table[column] + half}
    )


def test_models_are_paired_with_themselves():
    """Catches differences between models, and a model that only one split has."""
    seen, unseen = models([0.9, 0.5, 0.1]), models([0.6, 0.3])
    found = pairs_of(seen, unseen.iloc[::-1], VALUE)
    assert found["change"].tolist() == pytest.approx([0.3, 0.2])
    assert found["error"].tolist() == pytest.approx([0.02 * np.sqrt(2)] * 2)


def test_shares_of_several_roles_are_added():
    """Catches a run without an interval, and errors as if roles were other documents."""
    table = models([0.7, 0.2]).assign(**{QUERY: [0.2, 0.1], f"{QUERY}_low": [0.1, np.nan]})
    table[f"{QUERY}_high"] = [0.3, np.nan]
    name, shares, errors = shares_of("runs", table, "value+query", INPUT)
    assert name == f"runs of {VALUE} and {QUERY}"
    assert shares == pytest.approx([0.9])
    assert np.array(errors) == pytest.approx(0.02 + 0.1 / 1.96)


def test_errors_of_a_skewed_interval():
    """Catches the longer side of an interval for the shorter one, and one of a negative length."""
    table = models([0.7, 0.2]).assign(**{f"{VALUE}_low": [0.6, 0.1], f"{VALUE}_high": [1.1, 0.15]})
    _, _, errors = shares_of("runs", table, "value", INPUT)
    assert np.array(errors) * 1.96 == pytest.approx(np.array([[0.1, 0.4], [0.1, 0.0]]))


def test_falls():
    """Catches a fall with the wrong sign, and an error of one of both splits."""
    table = pd.DataFrame({"dev_accuracy": [0.8], "accuracy": [0.5], "dev_documents": [320]})
    found = falls_of(table.assign(documents=320)).iloc[0]
    assert found["change"] == pytest.approx(0.3)
    assert found["error"] == pytest.approx(np.sqrt((0.16 + 0.25) / 320), rel=0.01)


def test_few_groups_say_nothing_of_others():
    """Catches a prior from groups of one, which have no variance."""
    assert prior_within([(name, pd.Series([1.0])) for name in range(9)]) == UNKNOWN
    groups = [pd.Series([0.0, 1.0]), pd.Series([0.0, 0.5])] * 4
    assert prior_within(enumerate(groups)).degrees > 0


def test_several_numbers_of_the_same_models_count_once():
    """Catches roles and splits that count as groups of their own."""
    groups = [pd.Series([0.0, 1.0]), pd.Series([0.0, 0.5]), pd.Series([0.2, 0.3])] * 2
    assert prior_within((name % 4, group) for name, group in enumerate(groups)) == UNKNOWN
    five = [(name, group) for name in range(5) for group in groups[:3]]
    assert prior_within(five).pooled == 5.0


def test_trainings_that_fail():
    """Catches a best run that counts itself, a cell in which nobody recalls, and dev documents."""
    columns = {"task": "AR", "layers": 2, "positions": "none", "option": "", "floor": 0.06}
    rows = [
        {"mixer": mixer, "learning_rate": rate, "accuracy": accuracy, "split": split, "width": 64}
        for mixer, rate, split, accuracies in (
            ("based", 1e-3, "test", (0.99, 0.5, 0.1)),  # one failed of two beside the best
            ("based", 3e-3, "test", (0.9,)),
            ("h3", 1e-3, "test", (0.1, 0.0)),
            ("mamba", 1e-3, "dev", (0.9, 0.0)),
        )
        for accuracy in accuracies
    ]
    assert failures(pd.DataFrame(rows).assign(copying=np.nan, **columns)) == (1, 2)
