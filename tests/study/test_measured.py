"""Numbers of rows of results."""

import numpy as np
import pandas as pd
import pytest

from mecheval_jax.statistics.moderated import UNKNOWN
from mecheval_jax.study.measured import MODEL, falls_of, pairs_of, prior_within, shares_of
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
    assert errors == pytest.approx([0.02 + 0.2 / 3.92])


def test_falls():
    """Catches a fall with the wrong sign, and an error of one of both splits."""
    table = pd.DataFrame({"dev_accuracy": [0.8], "accuracy": [0.5], "dev_documents": [320]})
    found = falls_of(table.assign(documents=320)).iloc[0]
    assert found["change"] == pytest.approx(0.3)
    assert found["error"] == pytest.approx(np.sqrt((0.16 + 0.25) / 320), rel=0.01)


def test_few_groups_say_nothing_of_others():
    """Catches a prior from groups of one, which have no variance."""
    assert prior_within([pd.Series([1.0])] * 9) == UNKNOWN
    assert prior_within([pd.Series([0.0, 1.0]), pd.Series([0.0, 0.5])] * 4).degrees > 0
