"""Erased or outweighed, of a delta rule whose share of a write is set by hand."""

import dataclasses

import jax
import numpy as np
import pandas as pd
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.memory.overwriting import overwriting_rows, reading_of
from mecheval_jax.models.language_model import initialize
from mecheval_jax.statistics.bootstrap import Estimate
from tests.support import planted, planted_memory


@pytest.mark.parametrize(("beta", "reading"), [(0.999, "erased"), (0.1, "outweighed")])
def test_what_the_delta_rule_leaves(beta, reading):
    """Catches the old pair taken for the new one, and an erasure that comes from the removal.

    A second write leaves 1 - beta of the first. The norm behind the reading makes the whole answer
    of that little, so that the answer alone would say outweighed for both.
    """
    subject = planted_memory.delta_rule(planted_memory.FORGETTING, beta)
    table = pd.DataFrame(overwriting_rows(subject))
    by_metric = table.set_index("metric")
    uncovered = by_metric.loc["uncovered"]
    assert uncovered["reading"] == reading
    assert uncovered["value"] == pytest.approx(1 - beta, abs=2e-3)
    assert by_metric.loc["recovered", "value"] > 0.99
    assert by_metric.loc["trace", "value"] == pytest.approx(1 - beta, abs=0.02)
    p = table.dropna(subset=["condition"]).set_index(["metric", "condition"])["value"]
    assert p["new_probability", "clean"] > 0.5
    assert p["new_probability", "without_old"] > 0.99
    assert p["old_probability", "without_new"] > 0.99
    assert p["old_probability", "without_both"] < 0.2
    assert (table["site"].dropna() == "block_0/mixer/write").all()
    assert (table["offset"].dropna() == 0).all()


@pytest.mark.parametrize(
    ("samples", "reading"),
    [
        ([0.0, 0.1, 0.15], "erased"),
        ([0.6, 0.8, 0.9], "outweighed"),
        ([0.3, 0.35, 0.4], "partly"),
        ([0.1, 0.3, 0.9], "undecided"),
        ([np.nan], "undecided"),
    ],
)
def test_readings_follow_from_the_interval(samples, reading):
    """Catches a word that the interval does not bear out."""
    estimate = Estimate(float(np.median(samples)), np.repeat(samples, 200), 64)
    assert reading_of(estimate, 0.95) == reading


@pytest.mark.parametrize("mixer", ["gla", "attention"])
def test_a_model_that_has_learned_nothing(mixer):
    """Catches two contributions at random that are called a pair which outweighs another."""
    task = planted_memory.FORGETTING
    subject = planted_memory.lively(mixer, task)
    new = jax.jit(initialize, static_argnums=0)(subject.config, jax.random.key(0))
    batch = planted.documents(task, 128)
    subject = dataclasses.replace(subject, params=new, batch=batch)
    by_metric = pd.DataFrame(overwriting_rows(subject)).set_index("metric")
    assert by_metric.loc["uncovered", "reading"] == "undecided"
    assert by_metric.loc[["uncovered", "recovered", "trace"], "value"].isna().all()


def test_documents_without_an_old_value():
    """Catches a task that forgets nothing and is judged."""
    with pytest.raises(UserError, match="no role 'old_value'; forgetting_recall has"):
        next(overwriting_rows(planted_memory.lively("gla")))
