"""The pages of the study."""

import dataclasses
import re

import numpy as np
import pytest

from mecheval_jax.study.agreement import ANOTHER_GRAMMAR, TOO_WIDE, agreement
from mecheval_jax.study.cells import StudyCells
from mecheval_jax.study.coverage import Coverage, Covered
from mecheval_jax.study.findings.every import FINDINGS
from mecheval_jax.study.judgement import judge
from mecheval_jax.study.page import (
    Conclusion,
    about,
    agreeing,
    brief,
    by_verdict,
    html,
    markdown,
    of_claims,
    summary,
)
from mecheval_jax.study.quantities import WIDEST
from mecheval_jax.study.results import RESTORED
from tests.support.study_world import world

COVERAGE = Coverage(
    "laptop", [Covered("mamba_taps", 12, 9, (11, 12))], Covered("all of them", 12, 9)
)


def conclusion(rows, findings=FINDINGS[:5], what="a test of <pages>"):
    cells = StudyCells(rows)
    figures = {"accuracy_ar_2": "Accuracy against width"} if len(rows) else {}
    return Conclusion(
        about(what, rows), rows, judge(cells, findings), agreement(cells),
        ["ar_seeds: beyond the budget"], figures, COVERAGE,
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
    evidence = [one for judged in found.judgements for one in judged.evidence]
    told = of_claims(found.judgements)
    assert told in text
    assert f"are {len(evidence)} claims, each about one number. " in told
    assert f"{sum(one.runs > 0 for one in evidence)} have runs" in told
    (row,) = (line for line in text.splitlines() if line.startswith("| 1 |"))
    assert row.replace("\\|", "").count("|") == 8
    assert "| reproduced, on 1 of 5 claims (width 64) | 1.000 [" in row
    assert "| 1.000 |" in row  # what the study has at this width
    # What was run: the learning rates and both seeds of one architecture.
    assert "| mamba | AR | test | 2 | 64 | 1e-3 | 0, 1 | 80.6, 80.6 % | 80.6 % |" in text
    assert "How often training succeeds" not in text  # two seeds are too few


def test_how_often_training_succeeds_on_the_pages():
    """Catches a table that a page leaves out, or that its HTML form does."""
    part = world(seeds=3)
    found = conclusion(part[(part["task"] == "AR") & (part["width"] == 64)])
    assert "| mamba | AR | 2 | 64 | 1e-3 | 3 of 3 | 44% to 100% |" in markdown(found)
    assert "44% to 100%" in html(found, [])


def test_a_report(found):
    """Catches markup that is broken, claims that are lost, and a part shown as the whole."""
    page = html(found, [("Accuracy against width", "<svg>")])
    assert page.count(of_claims(found.judgements)) == 1
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


def test_what_was_not_run(found):
    """Catches an experiment that a page leaves out, or that its HTML form does, and a heading above
    nothing."""
    text, page = markdown(found), html(found, [])
    assert "| mamba_taps | 12 | 9 | 11, 12 |" in text
    assert "| all of them | 12 | 9 |  |" in text
    assert "<td>mamba_taps</td><td>12</td><td>9</td><td>11, 12</td>" in page
    for written in (text, page):
        assert COVERAGE.sentence in written
    # Either part stands there without the other.
    alone = dataclasses.replace(found, not_run=())
    for write in (markdown, lambda one: html(one, [])):
        assert "mamba_taps" in write(alone)
        assert "planned" not in write(alone)
        assert "beyond the budget" in write(dataclasses.replace(found, coverage=None))
        assert "Not run<" not in write(dataclasses.replace(alone, coverage=None))
        assert "## Not run" not in write(dataclasses.replace(alone, coverage=None))


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
    ((line, reasons),) = by_verdict(nothing.judgements)
    assert line.startswith("not run: 1, 2,")
    assert reasons == []


def test_what_undecided_findings_lack():
    """Catches an undecided finding without a reason, or with two."""
    part = world()
    part = part[(part["task"] == "AR") & (part["width"] == 64) & (part["seed"] < 2)]
    found = conclusion(part, FINDINGS, "a part")
    open_ones = [one for one in found.judgements if one.verdict == "undecided"]
    ((_, reasons),) = [each for each in by_verdict(open_ones) if each[1]]
    told = [number for why in reasons for number in why.rpartition(": ")[2].split(", ")]
    assert sorted(map(int, told)) == [one.finding for one in open_ones]
    waiting = [one.finding for one in open_ones if one.missing]
    assert waiting
    assert reasons[0].endswith(": " + ", ".join(map(str, waiting)))
    assert all(f"<li>{why}" in html(found, []) for why in reasons)


def test_models_with_interventions_are_counted():
    """Catches a model that has learned nothing counted as one of which activations were moved."""
    part = world()
    part = part[(part["task"] == "AR") & (part["width"] == 64)].iloc[:5].copy()
    part.iloc[0, part.columns.get_loc("verdict")] = "not_learned"
    part.loc[part.index[0], list(RESTORED)] = np.nan
    assert "5 trained models, 4 of them with interventions, 1 that have learned" in about("", part)


def test_every_answer_on_a_published_number_has_its_reason():
    """Catches a reason that is guessed from the number of runs, and answers that add up to less."""
    own = world(documents=320)
    own = own[(own["width"] == 64) & own["task"].isin(("AR", "ATR L=5 S=20"))]
    table = agreement(StudyCells(own))
    assert set(table["open"][table["task"] == "ATR L=5 S=20"]) == {ANOTHER_GRAMMAR}
    wide = table["predicted_high"] - table["predicted_low"] > WIDEST
    assert (table["open"] == TOO_WIDE).equals(wide & (table["task"] == "AR"))
    said = agreeing(table)
    counts = [
        int(number) for number in re.findall(r"\d+(?= (?:inside|outside|above|elsewhere))", said)
    ]
    assert sum(counts) == (table["open"] != ANOTHER_GRAMMAR).sum()
    assert f"{(table['open'] == TOO_WIDE).sum()} inside one so wide" in said
