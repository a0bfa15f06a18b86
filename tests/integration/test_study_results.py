"""`python -m tools.study_results`."""

import json
import shutil

from mecheval_jax.study.results import read_table, write_table
from tests.support import forked
from tests.support.study_world import world


def test_tables_become_pages(tmp_path):
    """Catches pages that are not written anew, and a table that was edited and counts."""
    write_table(tmp_path / "ar.csv", world().query("task == 'AR' and width == 64"))
    program = ["-m", "tools.study_results", f"--output={tmp_path}"]
    done = forked.start(program)
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "findings.json").read_text())
    assert rows[0]["verdict"] == "reproduced"
    assert "| 1 |" in (tmp_path / "study.md").read_text()
    again = tmp_path / "again"
    shutil.copytree(tmp_path, again, ignore=shutil.ignore_patterns("again"))
    assert forked.start([*program[:2], f"--output={again}"]).returncode == 0
    for name in ("study.md", "findings.json"):
        assert (again / name).read_bytes() == (tmp_path / name).read_bytes()
    assert len(read_table(again / "ar.csv"))
    (again / "ar.csv").write_text("edited")
    done = forked.start([*program[:2], f"--output={again}"])
    assert done.returncode == 2
    assert "was edited" in done.stderr
