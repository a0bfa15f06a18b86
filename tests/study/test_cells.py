"""Runs of the study's cells."""

import pandas as pd
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.study.cells import StudyCells
from tests.support.study_world import changed, world


@pytest.fixture(scope="module")
def true():
    return world()


def test_the_best_rate_is_chosen_on_dev_documents(true):
    """Catches the highest test accuracy over rates, which flatters, and all rates together."""
    rows = true[(true["task"] == "AR") & (true["mixer"] == "based")]
    worse = changed(rows, {}, learning_rate=1e-2, accuracy=1.0, dev_accuracy=0.0)
    cells = StudyCells(pd.concat([rows, worse]))
    assert cells.accuracy("based", 32).value == pytest.approx(0.93125)
    assert cells.accuracy("based", 32).runs == 2


def test_runs_that_cannot_be_compared(true):
    """Catches runs of another length, or on other documents, that are judged together."""
    mixed = changed(true, {"task": "AR", "width": 16}, regime="short")
    with pytest.raises(UserError, match="AR come from runs that cannot be compared"):
        StudyCells(mixed)


def test_runs_that_learn(true):
    """Catches runs at the floor, judged as not learned, or of the comparison of positions."""
    where = {"task": "AR", "mixer": "based", "option": "", "layers": 2, "positions": "none"}
    assert len(StudyCells(true).learned("based")) == 10
    where |= {"width": 64}
    for values in ({"verdict": "not_learned"}, {"accuracy_low": 0.06}, {"positions": "learned"}):
        assert len(StudyCells(changed(true, where, **values)).learned("based")) == 8


def test_the_same_models_on_another_split(true):
    """Catches models of another rate or seed, and all of a mixer for those that were asked for."""
    cells = StudyCells(true)
    seen = cells.learned("mamba", "ATR held-out", split="dev")
    unseen = cells.on_split(seen.iloc[:3], "test")
    assert set(unseen["split"]) == {"test"}
    columns = ["width", "seed"]
    assert sorted(unseen[columns].values.tolist()) == sorted(seen[columns].iloc[:3].values.tolist())


def test_floors_are_of_test_documents(true):
    """Catches the floor of other documents, which may be higher."""
    rows = changed(true, {"task": "ATR held-out", "split": "dev"}, floor=0.9)
    assert (
        StudyCells(rows).floor("ATR held-out")
        == true.query("task == 'ATR held-out'")["floor"].max()
    )


def test_published_numbers_stand_beside_ours(true):
    """Catches the number of another cell, and a range where one number is compared."""
    cells = StudyCells(true)
    assert cells.accuracy("mamba", 64).published == (258 / 320, 258 / 320)
    assert cells.accuracy("delta_net", 64).published is None
    runs = cells.learned("based")
    assert next(cells.each(runs, "value")).published == (0.999, 1.033)
    mamba = cells.attribution(cells.learned("mamba"), "query")
    assert mamba.published == (1.0, 1.0)  # the median, with which a mean is compared


def test_rare_betas_stand_apart(true):
    """Catches runs with another beta2 among the study's own."""
    assert StudyCells(changed(true, {"seed": 1}, beta2=0.95)).accuracy("mamba", 64).runs == 1
