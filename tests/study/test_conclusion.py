"""What is written of all results together."""

import json

import pandas as pd
import pytest

from mecheval_jax.reporting.figures.look import FORMATS
from mecheval_jax.study.conclusion import conclude
from mecheval_jax.study.judgement import CLAIMS
from tests.support.study_world import world


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("conclusion")
    part = world().query("task == 'AR' and width == 64 and layers == 1 and mixer == 'mamba'")
    return folder, part, conclude(folder, "a test", part, ["x: beyond the budget"])


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*")}


def test_files(written):
    """Catches a file that is missing, a figure that no page shows, and claims that are lost."""
    folder, _, found = written
    names = {str(path) for path in contents(folder)}
    pages = {"findings.csv", "findings.json", "claims.csv", "agreement.csv", "results.md",
             "report.html"}  # fmt: skip
    figures = {f"figures/{name}.{kind}" for name in found.figures for kind in FORMATS}
    assert names == pages | figures
    page, text = ((folder / name).read_text() for name in ("report.html", "results.md"))
    assert page.count("<svg") == len(found.figures)
    assert page.count('id="finding-') == 30
    for name in found.figures:
        assert f"(figures/{name}.svg)" in text
    claims = pd.read_csv(folder / "claims.csv")
    assert list(claims.columns) == list(CLAIMS)
    assert len(claims) == sum(one.claims for one in found.judgements)
    assert [row["finding"] for row in json.loads((folder / "findings.json").read_text())] == list(
        range(1, 31)
    )


def test_the_same_again(written, tmp_path):
    """Catches anything in a file that does not come from the results."""
    folder, part, _ = written
    conclude(tmp_path, "a test", part, ["x: beyond the budget"])
    assert contents(tmp_path) == contents(folder)


def test_nothing(tmp_path):
    """Catches an error where nothing was run."""
    found = conclude(tmp_path, "nothing", world().iloc[:0], [])
    assert {one.verdict for one in found.judgements} == {"not run"}
    assert not found.figures
