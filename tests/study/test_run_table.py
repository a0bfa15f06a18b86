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
             "beta2": 0.999, "verdict": "induction"}  # fmt: skip
    return [
        {**usual, "mixer": mixer, "width": width, "learning_rate": rate, "seed": seed,
         "accuracy": accuracy, **other}
        for seed, accuracy in enumerate(accuracies)
    ]  # fmt: skip


def lines(rows, asked):
    heads, found = run_lines(table_of(rows), parse_conditions(asked))
    return [dict(zip(heads, line, strict=True)) for line in found]


def test_lines_of_runs():
    """Catches runs of another cell or rate in a line, a line that is lost, seeds or rates in
    another order, and a published number that stands beside the wrong cell."""
    rows = [
        *cell("based", 64, [0.75], rate=3e-4),
        *cell("based", 64, [0.5, 0.25], rate=1e-3)[::-1],
        *cell("based", 64, [0.125], option="kernel=1"),
        *cell("attention", 64, [0.0], positions="none", verdict="not_learned"),
        *cell("attention", 64, [1.0], positions="learned"),
        *cell("based", 32, [0.1], rate=1.5e-3),
        *cell("based", 64, [0.375], beta2=0.95),
    ]
    found = lines(rows, "task=AR; width=64; layers=2; split=test")
    assert [(line["mixer"], line["rate"], line["seeds"], line["accuracy"]) for line in found] == [
        ("attention", "1e-3", "0", "100.0 %"),
        ("attention (positions none)", "1e-3", "0", "0.0 %"),
        ("based", "1e-3", "0, 1", "50.0, 25.0 %"),
        ("based", "3e-4", "0", "75.0 %"),
        ("based (beta2 0.95)", "1e-3", "0", "37.5 %"),
        ("based kernel=1", "1e-3", "0", "12.5 %"),
    ]
    published = ["100.0 %", "9.1 %", "99.1 %", "99.1 %", "", "3.4 %"]
    assert [line["study"] for line in found] == published
    assert found[1]["verdict"] == "not_learned"
    assert "width" not in found[0]
    usual = lines(rows, "mixer=attention; positions=usual")
    assert [line["mixer"] for line in usual] == ["attention"]
    (unusual,) = lines(rows, "beta2=0.95")
    assert unusual["accuracy"] == "37.5 %"
    (narrow,) = lines(rows, "learning_rate=1.5e-3, 1")
    assert (narrow["width"], narrow["rate"], narrow["accuracy"]) == ("32", "0.0015", "10.0 %")


def test_shares_of_runs():
    """Catches the share of a run that only guesses, the minus sign of a zero, another run's share,
    and verdicts in another order than their runs."""
    rows = cell("mamba", 16, [0.9, 0.05, 0.7], accuracy_low=0.5, floor=0.0625)
    for row, share in zip(rows, (-0.001, 2.5, 0.5), strict=True):
        row |= {VALUE: share}
    rows[0] |= {WRITER: 1.0}
    rows[1] |= {"accuracy_low": 0.0, "verdict": "not_learned"}
    (line,) = lines(rows, f"also={WRITER}")
    assert line["@value"] == "0.00, -, 0.50"
    assert line["@key"] == ""
    assert line[WRITER] == "1.00, -, -"
    assert line["verdict"] == "1 induction, 1 not_learned, 1 induction"
    on_treecall = [row | {"task": "ATR L=5 S=20"} for row in rows]
    assert lines(on_treecall, "")[0]["@value"] == "0.00, 2.50, 0.50"
    two = [row | {"verdict": "mixed"} for row in rows[:2]]
    assert lines([*two, rows[2]], "")[0]["verdict"] == "2 mixed, 1 induction"
    alike = [row | {VALUE: 1.0, "accuracy_low": 0.5, "verdict": "mixed"} for row in rows]
    assert (lines(alike, "")[0]["@value"], lines(alike, "")[0]["verdict"]) == ("1.00", "mixed")


def test_a_run_that_was_not_measured():
    """Catches ``nan`` on a page, and a run that is lost with its verdict."""
    rows = cell("based", 64, [0.9, 0.8], verdict=None)
    assert lines(rows, "")[0]["verdict"] == ""
    rows[0]["verdict"] = "induction"
    assert lines(rows, "")[0]["verdict"] == "1 induction, 1 -"
    assert lines(rows, "")[0]["seeds"] == "0, 1"


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("width", "not by 'width'"),
        ("colour=red", "not by 'colour=red'"),
        ("width=32; width=64", "not by 'width=64'"),
        ("width=wide", "width is a number, not 'wide'"),
        ("mixer=based,basde", "unknown mixer 'basde'"),
        ("task=AR L=5", "unknown task 'AR L=5'.*: valid are AR, ATR L=5 S=20"),
        ("also=block_9/block_input@value", "unknown also 'block_9/block_input@value'"),
    ],
)
def test_conditions_that_ask_for_nothing(asked, message):
    """Catches a condition that is passed over, so that a page shows other runs than it says."""
    with pytest.raises(UserError, match=message):
        parse_conditions(asked)


def test_every_run_has_its_line():
    """Catches a cell that is lost where a column has no value."""
    rows = world()
    rows.loc[rows.index[0], "learning_rate"] = np.nan
    heads, found = run_lines(rows)
    seeds = heads.index("seeds")
    assert sum(len(line[seeds].split(", ")) for line in found) == rows["accuracy"].notna().sum()


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
    assert "Of the 5 cells" in text
    assert "3 have one seed, 1 two, 1 three and 0 more" in text
    assert "In 1 of the 2 with several these lie within 15 points" in text
    assert text.endswith("the best and the worst have 99.0 and 7.0 %.")
    # A run that diverged answers nothing.
    lost = table_of(rows)
    lost.loc[lost["accuracy"].isna(), "diverged_at"] = 100
    assert "2 have one seed, 2 two, 1 three and 0 more" in spread(lost)
    assert spread(table_of(cell("mamba", 64, [0.5, 0.5]))).endswith(
        "within 15 points of each other."
    )


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
