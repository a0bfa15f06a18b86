"""Tables of single runs, and how far their seeds lie apart."""

import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.study.results import table_of
from mecheval_jax.study.run_table import parse_conditions, run_lines, spread, success_lines
from tests.support.study_world import world

VALUE, WRITER = "block_1/block_input@value", "block_0/mixer_output@query"


def cell(mixer, width, accuracies, rate=1e-3, **other):
    """Rows of one cell and rate, a seed for each accuracy."""
    usual = {"task": "AR", "split": "test", "layers": 2, "positions": "none", "option": "",
             "verdict": "induction"}  # fmt: skip
    return [
        {**usual, "mixer": mixer, "width": width, "learning_rate": rate, "seed": seed,
         "accuracy": accuracy, **other}
        for seed, accuracy in enumerate(accuracies)
    ]  # fmt: skip


def lines(rows, asked):
    heads, found = run_lines(table_of(rows), parse_conditions(asked))
    return [dict(zip(heads, line, strict=True)) for line in found]


def test_lines_of_runs():
    """Catches runs of another cell or rate in a line, a line that is lost, and a published number
    that stands beside the wrong cell, or beside a cell twice."""
    rows = [
        *cell("based", 64, [0.5, 0.25]),
        *cell("based", 64, [0.75], rate=3e-3),
        *cell("based", 64, [0.125], option="kernel=1"),
        *cell("attention", 64, [1.0], positions="learned"),
        *cell("attention", 64, [0.0], positions="none", verdict="not_learned"),
        *cell("based", 32, [0.1]),
    ]
    found = lines(rows, "task=AR; width=64; layers=2; split=test")
    assert [(line["mixer"], line["rate"], line["seeds"], line["accuracy"]) for line in found] == [
        ("attention", "0.001", "0", "100.0 %"),
        ("attention (positions none)", "0.001", "0", "0.0 %"),
        ("based", "0.001", "0, 1", "50.0, 25.0 %"),
        ("based", "0.003", "0", "75.0 %"),
        ("based kernel=1", "0.001", "0", "12.5 %"),
    ]
    assert [line["study"] for line in found] == ["100.0 %", "9.1 %", "99.1 %", "", "3.4 %"]
    assert found[1]["verdict"] == "not_learned"
    assert "width" not in found[0]
    widths = [line["width"] for line in lines(rows, "mixer=based; option=")]
    assert widths == ["32", "64", "64"]


def test_shares_of_runs():
    """Catches a share that no interval holds, the minus sign of a zero, and another run's share."""
    rows = cell("mamba", 16, [0.9, 0.8, 0.7])
    for row, share, half in zip(rows, (-0.001, 2.5, 0.5), (0.1, 3.0, 0.4), strict=True):
        row |= {VALUE: share, f"{VALUE}_low": share - half, f"{VALUE}_high": share + half}
    rows[0] |= {WRITER: 1.0, f"{WRITER}_low": 1.0, f"{WRITER}_high": 1.0}
    rows[2]["verdict"] = "mixed"
    (line,) = lines(rows, f"also={WRITER}")
    assert line["@value"] == "0.00, -, 0.50"
    assert line["@key"] == ""
    assert line[WRITER] == "1.00, -, -"
    assert line["verdict"] == "2 induction, 1 mixed"
    for row in rows:
        row |= {VALUE: 1.0, f"{VALUE}_low": 1.0, f"{VALUE}_high": 1.0}
    assert lines(rows, "")[0]["@value"] == "1.00"


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("width", "width"),
        ("colour=red", "colour=red"),
        ("also=block_9/block_input@value", "block_9/block_input@value"),
    ],
)
def test_conditions_that_ask_for_nothing(asked, message):
    """Catches a condition that is passed over, so that a page shows other runs than it says."""
    with pytest.raises(UserError, match=message):
        parse_conditions(asked)


def test_every_run_has_its_line():
    """Catches a cell that is lost where a column has no value."""
    rows = world()
    rows["learning_rate"] = rows["learning_rate"].astype(float)
    _, found = run_lines(rows)
    assert sum(len(line[6].split(", ")) for line in found) == rows["accuracy"].notna().sum()


def test_how_far_seeds_lie_apart():
    """Catches a single seed that counts, seeds of two rates that are compared, and wrong ends."""
    rows = [
        *cell("based", 64, [0.99, 0.98, 0.07]),
        *cell("based", 32, [0.9, 0.8]),
        *cell("mamba", 64, [0.1]),
        *cell("mamba", 64, [0.9], rate=3e-3),
        *cell("h3", 64, [0.5, np.nan]),
    ]
    text = spread(table_of(rows))
    assert text.startswith("In 1 of the 2 cells")
    assert "15 points" in text
    assert text.endswith("the best and the worst have 99.0 and 7.0 %.")
    assert spread(table_of(cell("mamba", 64, [0.1]))) == "No cell has several seeds yet."


def test_how_often_training_succeeds():
    """Catches runs of two rates that are counted together, one that guesses and counts, one that
    the verdict says has learned nothing, and cells of two seeds."""
    able = {"accuracy_low": 0.5, "floor": 0.0625}
    rows = [
        *cell("based", 64, [0.6, 0.6, 0.6, 0.6], **able),
        *cell("based", 64, [0.6, 0.6], rate=3e-3, **able),
        *cell("mamba", 64, [0.6, 0.1, 0.6, 0.6], **able),
        *cell("h3", 64, [0.0, 0.0, 0.0], accuracy_low=0.0, floor=0.0625),
    ]
    rows[7] |= {"accuracy_low": 0.05}
    rows[8] |= {"verdict": "not_learned"}
    heads, found = success_lines(table_of(rows))
    assert [(line[0], *line[-2:]) for line in found] == [
        ("based", "4 of 4", "51% to 100%"),
        ("h3", "0 of 3", "0% to 56%"),
        ("mamba", "2 of 4", "15% to 85%"),
    ]
    assert len(heads) == len(found[0])
