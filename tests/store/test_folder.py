"""Folders that are not theirs are left alone, and rows that were cut off are passed over."""

import json

import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.store.run_folder import RunFolder
from tests.support import small


def test_what_is_no_run_is_left_alone(tmp_path):
    """Catches files of somebody else's that end up among a run's."""
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(UserError, match="not empty and holds no run"):
        RunFolder(tmp_path).open(small.experiment())
    with pytest.raises(UserError, match="is a file"):
        RunFolder(tmp_path / "thesis.tex").open(small.experiment())
    with pytest.raises(UserError, match="no run"):
        RunFolder(tmp_path).experiment()


def test_a_workdir_that_cannot_be_made(tmp_path):
    """Catches a traceback for a path below a file."""
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be made"):
        RunFolder(tmp_path / "file" / "run").open(small.experiment())


def test_a_start_that_was_killed_can_be_repeated(tmp_path):
    """Catches a folder that is refused because a file in it was only half written."""
    (tmp_path / "config.json.part").write_text('{"task": ')
    folder = RunFolder(tmp_path)
    folder.open(small.experiment())
    assert folder.experiment() == small.experiment()


def test_metrics_that_were_cut_off(tmp_path):
    """Catches a broken last line that makes a run unreadable, and rows counted twice."""
    folder = RunFolder(tmp_path)
    rows = [{"step": step, "split": "train", "loss": 1.0} for step in (10, 20, 30)]
    folder.metrics.write_text("".join(json.dumps(row) + "\n" for row in rows) + '5\n{"step": 4')
    assert folder.read_metrics() == rows
    folder.forget_after(20)
    assert folder.read_metrics() == rows[:2]
    assert folder.metrics.read_text().count("\n") == 2
