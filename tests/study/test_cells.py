"""Runs of the study's cells."""

import pandas as pd
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.study.cells import Cells
from tests.support.study_world import changed, world


@pytest.fixture(scope="module")
def true():
    return world()


def test_the_best_rate_is_chosen_on_dev_documents(true):
    """Catches the highest test accuracy over rates, which flatters, and all rates together."""
    rows = true[(true["task"] == "AR") & (true["mixer"] == "based")]
    worse = changed(rows, {}, learning_rate=1e-2, accuracy=1.0, dev_accuracy=0.0)
    cells = Cells(pd.concat([rows, worse]))
    assert cells.accuracy("based", 32).value == pytest.approx(0.93125)
    assert cells.accuracy("based", 32).runs == 2


def test_runs_that_cannot_be_compared(true):
    """Catches runs of another length, or on other documents, that are judged together."""
    mixed = changed(true, {"task": "AR", "width": 16}, regime="short")
    with pytest.raises(UserError, match="AR come from runs that cannot be compared"):
        Cells(mixed)


def test_runs_that_learn(true):
    """Catches runs at the floor, or judged as not learned, that count as learned."""
    where = {"task": "AR", "mixer": "based", "option": "", "layers": 2, "positions": "none"}
    assert len(Cells(true).learned("based")) == 20
    for values in ({"verdict": "not_learned"}, {"accuracy_low": 0.06}):
        assert len(Cells(changed(true, where, **values)).learned("based")) == 10


def test_rare_betas_stand_apart(true):
    """Catches runs with another beta2 among the study's own."""
    assert Cells(changed(true, {"seed": 1}, beta2=0.95)).accuracy("mamba", 64).runs == 1
