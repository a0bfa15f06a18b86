"""The pages of the study."""

import pytest

from mecheval_jax.study.agreement import agreement
from mecheval_jax.study.cells import StudyCells
from mecheval_jax.study.findings.every import FINDINGS
from mecheval_jax.study.judgement import judge
from mecheval_jax.study.page import Conclusion, about, brief, by_verdict, html, markdown, summary
from tests.support.study_world import world


def conclusion(rows, findings=FINDINGS[:5], what="a test of <pages>"):
    cells = StudyCells(rows)
    figures = {"accuracy_ar_2": "Accuracy against width"} if len(rows) else {}
    return Conclusion(
        about(what, rows), rows, judge(cells, findings), agreement(cells),
        ["ar_seeds: beyond the budget"], figures,
    )  # fmt: skip


@pytest.fixture(scope="module")
def found():
    part = world()
    return conclusion(part[(part["task"] == "AR") & (part["width"] == 64)])


def test_a_page(found):
    """Catches a page without a finding, a number, what it rests on or what was not run."""
    text = markdown(found)
    for one in found.judgements:
        assert one.text in text
        assert one.sentence in text
    assert "80.6%" in text
    assert "beyond the budget" in text
    assert "(figures/accuracy_ar_2.svg)" in text
    assert summary(found.judgements) in text
    (row,) = (line for line in text.splitlines() if line.startswith("| 1 |"))
    assert row.replace("\\|", "").count("|") == 8
    assert "| reproduced, on 1 of 5 claims | 1.000 [" in row
    assert "| 1.000 |" in row  # what the study has at this width
    # What was run: the learning rates and both seeds of one architecture.
    assert "| AR | 2 | mamba | 64 | 0.0001, 0.001 | 0, 1 | 3 |" in text


def test_a_report(found):
    """Catches markup that is broken, claims that are lost, and a part shown as the whole."""
    page = html(found, [("Accuracy against width", "<svg>")])
    for one in found.judgements:
        assert f'">{one.verdict}</span>' in page
        for claim in one.evidence:
            assert claim.text.replace("<", "&lt;") in page
    assert "beyond the budget" in page
    assert "&lt;pages&gt;" in page
    assert page.count('class="good part" href') == sum(
        one.is_partial and one.verdict == "reproduced" for one in found.judgements
    )
    assert "http:" not in page.replace("http://www.w3.org", "")


def test_a_part_of_another_page(found):
    """Catches links from the wrong folder, and a table as wide as the page's own."""
    lines = brief(found, "results/findings/")
    assert "![Accuracy against width](results/findings/figures/accuracy_ar_2.svg)" in lines
    assert all(line.count("|") == 6 for line in lines if line.startswith("| "))


def test_without_results():
    """Catches an error where nothing was run."""
    nothing = conclusion(world().iloc[:0], FINDINGS, "nothing")
    assert "0 reproduced" in markdown(nothing)
    assert "30 not run" in html(nothing, [])
    (line,) = by_verdict(nothing.judgements)
    assert line.startswith("not run: 1, 2,")
