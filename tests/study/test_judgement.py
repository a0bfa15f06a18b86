"""How claims become judgements."""

import dataclasses
import json

import pytest

from mecheval_jax.study.cells import StudyCells
from mecheval_jax.study.claims import UNTRIED, Claim
from mecheval_jax.study.findings.every import FINDINGS
from mecheval_jax.study.judgement import Finding, findings_json, findings_table, judge
from tests.support.study_world import changed, world

ATTENTION = {"task": "AR", "layers": 2, "mixer": "attention"}


@pytest.fixture(scope="module")
def true():
    return world()


def test_judged_on_a_part(true):
    """Catches a verdict that does not say on which part of the grid it rests."""
    (one,) = judge(StudyCells(true[true["width"].isin((32, 64))]), FINDINGS[:1])
    assert (one.verdict, one.claims_judged, one.claims) == ("reproduced", 2, 5)
    assert one.widths == "32, 64"
    assert "width 128" in one.not_run
    assert "width 16" in one.not_run
    assert "width 64" not in one.not_run


def test_an_essential_part_is_missing(true):
    """Catches a finding that is reproduced by its least part, and one no run can contradict."""
    beside = true[(true["task"] != "AR") | (true["mixer"] != "attention") | (true["width"] == 16)]
    (one,) = judge(StudyCells(beside), FINDINGS[:1])
    assert one.verdict == "not run"
    (against,) = judge(StudyCells(changed(beside, ATTENTION, accuracy=0.9)),
                       FINDINGS[:1])  # fmt: skip
    assert against.verdict == "not reproduced"


def test_judgements_do_not_depend_on_each_other(true):
    """Catches replicates that depend on what else was looked at."""
    part = true[true["task"] == "AR"]
    alone = judge(StudyCells(part), FINDINGS[2:3])[0]
    among = judge(StudyCells(part), FINDINGS[:5])[2]
    assert dataclasses.replace(alone, p_value=0) == dataclasses.replace(among, p_value=0)


def test_many_judgements_are_paid_for(true):
    """Catches p-values that are not corrected for the number of findings."""
    few = world(documents=30)
    (alone,) = judge(StudyCells(few), FINDINGS[13:14])
    among = judge(StudyCells(few), FINDINGS[10:14])[3]
    assert among.p_value > alone.p_value


@pytest.mark.parametrize("runs", [0, 1])
def test_findings_without_a_run_are_paid_for(true, runs):
    """Catches a verdict that is lost when another finding gets its first run."""

    def made(number, p, runs):
        claim = Claim("x", "all", estimate=1.0, if_false=p, if_true=1.0, runs=runs)
        return Finding(number, "x", ("all",), lambda cells: [claim])

    first, _ = judge(StudyCells(true), [made(1, 0.01, 1), made(2, 0.5, runs)])
    assert first.p_value == pytest.approx(2 * 0.01 * 2)


def test_one_learning_rate_is_named(true):
    """Catches a finding that is said to lack runs where no further seed could decide it."""
    open_claim = Claim("x", estimate=1.0, runs=2, note=UNTRIED)
    held = Claim("y", estimate=1.0, if_false=0.001, runs=2)
    for claims, expected in (
        ([open_claim, held], True),
        ([open_claim, dataclasses.replace(open_claim, note="")], False),
        ([held], False),
    ):
        (one,) = judge(StudyCells(true), [Finding(1, "x", (), lambda cells, c=claims: c)])
        assert one.waits_for_rates == expected


def test_written_down(true):
    """Catches numbers that JSON cannot hold."""
    judgements = judge(StudyCells(true[true["width"] == 64]), FINDINGS[:4])
    rows = json.loads(findings_json(judgements))
    assert [row["finding"] for row in rows] == [1, 2, 3, 4]
    table = findings_table(judgements)
    assert list(table["verdict"]) == [row["verdict"] for row in rows]
    nothing = json.loads(findings_json(judge(StudyCells(true.iloc[:0]), FINDINGS[:1])))
    assert nothing[0]["estimate"] is None


@pytest.mark.parametrize(
    ("p", "words"),
    [
        (0.01, "Holds by itself (p = 0.01), not among all findings, that x"),
        (0.2, "Cannot be told"),
        (0.99, "False by itself (p = 0.01), not among all findings, that x"),
    ],
)
def test_what_holds_by_itself_is_said(p, words):
    """Catches a page that says it cannot be told what its own table calls true or false."""
    claim = Claim("x is above 1", "main", 1.5, (1.1, 1.9), if_false=p, if_true=1 - p, runs=3)
    findings = [Finding(n, "text", ("main",), lambda cells: [claim]) for n in range(20)]
    for one in judge(StudyCells(world().iloc[:0]), findings):
        assert one.verdict == "undecided"
        assert one.sentence.startswith(words)
