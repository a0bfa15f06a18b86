"""`python -m tools.prove_verdict`: planted models judged one after another, and the page."""

import shutil
from collections import Counter

import pytest

from mecheval_jax.tasks.floors import KINDS as FLOORS
from tests.support import forked
from tests.support.compilation import ROOT
from tests.support.planted_kinds import KINDS
from tools.prove_verdict import MARKS, lines_of, prove, table_of


def test_it_goes_on_where_it_was_broken_off(tmp_path):
    """Catches verdicts that are lost or given twice, a broken line that counts, and a page that is
    not written with them."""
    page, lines = tmp_path / "page.md", tmp_path / "proof" / "induction.csv"
    shutil.copy(ROOT / "docs" / "verdict.md", page)
    arguments = ["-m", "tools.prove_verdict", f"--workdir={lines.parent}", f"--page={page}"]
    command = [*arguments, "--kinds=induction"]
    lines.parent.mkdir()
    lines.write_text("seed,grade,verdict,layer,binding,reason\n0,right,kept,1,none,as it was\n1,ri")
    done = forked.start([*command, "--seeds=2"])
    assert done.returncode == 0, done.stderr
    found = lines_of(lines)
    assert sorted(found) == [0, 1]
    assert (found[0]["verdict"], found[1]["verdict"]) == ("kept", "induction")
    assert "| induction | 2 | 2 | 0 | 0 |" in page.read_text()
    unknown = forked.start([*arguments, "--kinds=deduction"])
    assert unknown.returncode == 2
    assert "deduction" in unknown.stderr
    assert "Traceback" not in unknown.stderr


def test_what_is_known_outlives_any_end(tmp_path, monkeypatch):
    """Catches verdicts that are lost where the first new one is broken off."""
    path, (name, kind) = tmp_path / "lines.csv", next(iter(KINDS.items()))
    known = "seed,grade,verdict,layer,binding,reason\n0,right,kept,1,none,as it was\n"
    path.write_text(known + "1,ri")

    def stopped(self, seed):
        raise KeyboardInterrupt

    monkeypatch.setattr(type(kind), "judge", stopped)
    with pytest.raises(KeyboardInterrupt):
        prove(path, name, 2)
    assert path.read_text() == known


def test_kinds_of_a_sort_are_one_line():
    """Catches counts that are of the last kind alone, and a name with the sort before it."""
    counts = {name: {"right": 3} for name in KINDS} | {"heuristic: first": {"wrong": 1}}
    table = list(table_of({name: Counter(found) for name, found in counts.items()}))
    heuristics = sum(name.startswith("heuristic: ") for name in KINDS)
    (line,) = (line for line in table if line.startswith("| heuristic"))
    assert line.endswith(f"| {3 * (heuristics - 1) + 1} | {3 * (heuristics - 1)} | 0 | 1 |")
    assert "uniform, in_document" in line


def test_the_page_has_the_table():
    """Catches marks that went missing, and a table of kinds that are no longer planted."""
    begin, end = MARKS
    written = (ROOT / "docs" / "verdict.md").read_text().partition(begin)[2].partition(end)[0]
    titles = [line.split(" | ")[0].removeprefix("| ") for line in written.splitlines()[4:]]
    known = [line.split(" | ")[0].removeprefix("| ") for line in table_of(
        {name: Counter() for name in KINDS})][3:]  # fmt: skip
    assert [title for title in titles if title] == [title for title in known if title]


OTHERS = {"first_bound", "split_elimination"}
"""Heuristics that are not planted."""


def test_every_floor_is_planted():
    """Catches a new heuristic that no verdict was tried on.

    ``first_bound`` recalls, and a verdict is on query 0, for which ``split_elimination`` is
    ``split``.
    """
    planted = {name.removeprefix("heuristic: ") for name in KINDS if name.startswith("heuristic: ")}
    assert planted == set(FLOORS) - OTHERS
