"""Published accuracies beside our own."""

import pytest

from mecheval_jax.study.agreement import ANOTHER_RATE, ONE_RATE, ONE_RUN, TOO_WIDE, agreement
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
    assert of_one_rate["open"].value_counts()[ONE_RATE] == 1
    assert set(of_one_rate["open"]) == {"", ONE_RATE, TOO_WIDE}
    assert of_one_rate["agrees"].dropna().all()
    assert of_one_rate["agrees"].isna().equals(of_one_rate["open"] != "")


def test_the_same_runs_have_one_interval():
    """Catches intervals of a page that differ by how the cell's positions were asked for."""
    cells = StudyCells(world(documents=320))
    for mixer, usual in (("mamba", "none"), ("attention", "learned")):
        whole = {"layers": 2, "option": "", "split": "test", "positions": usual}
        named, unnamed = cells.accuracy(mixer, 64, **whole), cells.accuracy(mixer, 64)
        assert named is unnamed
        other = {"none": "learned", "learned": "none"}[usual]
        assert other in cells.accuracy(mixer, 64, positions=other).name


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
    assert row.open == ONE_RUN
    assert (row.mixer, row.width, row.accuracy) == ("mamba", 64, pytest.approx(0.575))
    assert table["agrees"].sum() == len(table) - 1


def test_the_best_of_several_rates():
    """Catches a number that is contradicted by one rate where another, with fewer runs, has it."""
    part = world(documents=320)
    part = part[(part["task"] == "AR") & (part["width"] == 64)]
    bare = {"mixer": "mamba", "option": "d_conv=0", "layers": 2, "positions": "none"}
    most = changed(part, bare | {"learning_rate": 1e-3}, accuracy=0.0, dev_accuracy=0.01)
    (row,) = agreement(StudyCells(most)).query("option == 'd_conv=0'").itertuples()
    assert (row.runs, row.accuracy, row.open) == (2, 0.0, ANOTHER_RATE)
    # A rate of which the interval holds nearly every number says nothing.
    wide = changed(most, bare | {"learning_rate": 1e-4}, accuracy=0.3)
    (row,) = agreement(StudyCells(wide)).query("option == 'd_conv=0'").itertuples()
    assert row.open == ""
    none = changed(most, bare | {"learning_rate": 1e-4}, accuracy=0.0)
    (row,) = agreement(StudyCells(none)).query("option == 'd_conv=0'").itertuples()
    assert (row.agrees, row.open) == (False, "")
