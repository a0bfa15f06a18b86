"""Published accuracies beside our own."""

import pytest

from mecheval_jax.study.agreement import agreement
from mecheval_jax.study.cells import StudyCells
from tests.support.study_world import changed, world


def test_agreement():
    """Catches a number held against another cell, and one that always agrees."""
    part = world(documents=320)
    part = part[(part["task"] == "AR") & (part["width"] == 64)]
    other = {"mixer": "mamba", "option": "", "layers": 2, "positions": "none"}
    wrong = changed(part, other, accuracy=0.3)
    table = agreement(StudyCells(wrong))
    bad = table[~table["agrees"]]
    assert len(bad) == 1
    (row,) = bad.itertuples()
    assert (row.mixer, row.option, row.layers, row.width) == ("mamba", "", 2, 64)
    assert (row.published, row.accuracy) == pytest.approx((258 / 320, 0.3))
    assert row.predicted_low < row.low < row.accuracy < row.high < row.predicted_high
    assert set(table["task"]) == {"AR"}
    # Another learning rate may give the published number.
    of_one_rate = agreement(StudyCells(wrong[wrong["learning_rate"] == 1e-3]))
    assert of_one_rate["runs"].min() == 2
    assert of_one_rate["agrees"].isna().sum() == 1
    assert of_one_rate["agrees"].sum() == len(of_one_rate) - 1


def test_a_single_run():
    """Catches a number that is said to disagree with a seed of which there are no others."""
    part = world(documents=320)
    part = part[(part["task"] == "AR") & (part["width"] == 64) & (part["seed"] == 0)]
    rate = part.groupby(["mixer", "option", "layers", "positions"])["learning_rate"]
    part = part[part["learning_rate"] == rate.transform("min")]
    other = {"mixer": "mamba", "option": "", "layers": 2, "positions": "none"}
    table = agreement(StudyCells(changed(part, other, accuracy=0.575, dev_accuracy=0.575)))
    assert set(table["runs"]) == {1}
    (row,) = table[table["agrees"].isna()].itertuples()
    assert (row.mixer, row.width, row.accuracy) == ("mamba", 64, pytest.approx(0.575))
    assert table["agrees"].sum() == len(table) - 1
