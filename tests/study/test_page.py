"""The pages of the study."""

import pandas as pd

from mecheval_jax.study.agreement import agreement
from mecheval_jax.study.cells import Cells
from mecheval_jax.study.findings.every import FINDINGS
from mecheval_jax.study.judgement import judge
from mecheval_jax.study.page import results_page, results_report, summary
from tests.support.study_world import world


def test_pages():
    """Catches a page without a finding, a number or what was not run, and markup that is broken."""
    part = world()
    cells = Cells(part[(part["task"] == "AR") & (part["width"] == 64)])
    judgements, compared = judge(cells, FINDINGS[:5]), agreement(cells)
    given = ("a test of <pages>", judgements, compared, ["ar_seeds: beyond the budget"])
    text, page = results_page(*given), results_report(*given)
    for one in judgements:
        assert one.text in text
        assert f"<td>{one.verdict}</td>" in page
    assert "80.6%" in text
    assert "beyond the budget" in text
    assert "beyond the budget" in page
    assert "&lt;pages&gt;" in page
    rows = [line for line in text.splitlines() if line.startswith("| 1 |")]
    assert rows[0].replace("\\|", "").count("|") == 7
    assert summary(judgements) in text


def test_without_results():
    """Catches an error where nothing was run."""
    cells = Cells(world().iloc[:0])
    judgements, compared = judge(cells, FINDINGS), agreement(cells)
    assert isinstance(compared, pd.DataFrame)
    assert "0 reproduced" in results_page("nothing", judgements, compared, [])
    assert "30 not run" in results_report("nothing", judgements, compared, [])
