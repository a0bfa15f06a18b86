"""Where the best run of a shape holds the answer is measured once, for the page."""

import shutil

import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.files import read_table
from mecheval_jax.reporting.html import report
from mecheval_jax.selection import places
from mecheval_jax.store.choice import ChoiceFolder
from mecheval_jax.store.run_folder import RunFolder
from tests.support.choices import runs_of
from tests.support.pages import words_of


@pytest.fixture
def group(finished, tmp_path):
    """A copy of the only group, whose runs have learned by what they say."""
    folder, _ = finished
    shutil.copytree(folder.path, tmp_path / "copy")
    (only,) = ChoiceFolder(tmp_path / "copy").groups()
    for path in only.members.glob("*"):
        RunFolder(path).update_summary(accuracy_low=1.0, verdict="induction")
    return only


def measured(run):
    grid = len(read_table(run.interchange)) > 0
    return grid, (run.analyses / "attention.csv").exists()


def test_the_best_run_is_measured_once_and_shown(group, monkeypatch):
    """Catches a grid of every run, a verdict that is written over, and a page without either."""
    verdicts = [run.read_summary() for run in runs_of(group)]
    places.measure_places(group)
    assert sorted(map(measured, runs_of(group))) == [(False, False), (True, True)]
    assert [run.read_summary() for run in runs_of(group)] == verdicts
    monkeypatch.setattr(places, "grid", None)
    monkeypatch.setattr(places.runs, "analyze", None)
    places.measure_places(group)
    text = words_of(report.write([str(group.path.parents[1])]).read_text())
    assert "What the query reads" in text
    assert "Effective attention was not measured" not in text


def test_what_has_not_learned_or_is_damaged_is_not_measured(group, monkeypatch):
    """Catches compute spent on an answer that is not there, and a traceback for a damaged table."""
    monkeypatch.setattr(places.runs, "load", None)
    monkeypatch.setattr(places.runs, "analyze", None)
    for run in runs_of(group):
        run.update_summary(accuracy_low=0.0, verdict="not_learned")
    places.measure_places(group)
    group.table.write_text("member\n3\n")
    with pytest.raises(UserError, match=r"members\.csv is damaged"):
        places.measure_places(group)
    group.table.unlink()
    places.measure_places(group)


@pytest.mark.parametrize("why", ["long", "refused"])
def test_a_mixer_without_effective_attention(group, why, monkeypatch):
    """Catches a choice that ends at its first LSTM, and a table that fills the disk."""

    def refuse(*_):
        raise UserError("LSTM has no effective attention")

    monkeypatch.setattr(places.runs, "analyze", refuse if why == "refused" else None)
    if why == "long":
        monkeypatch.setattr(places, "MOST_TOKENS", 4)
    places.measure_places(group)
    assert sorted(map(measured, runs_of(group))) == [(False, False), (True, False)]
