"""Runs from end to end: what their folders hold."""

import json
import shutil

import pytest

from mecheval_jax import runs
from mecheval_jax.errors import UserError
from mecheval_jax.files import read_table
from mecheval_jax.store.run_folder import RunFolder
from tests.support import small


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return runs.train(small.experiment(small.ONE_LAYER), tmp_path_factory.mktemp("whole") / "run")


def test_metrics_are_complete_and_in_order(folder):
    """Catches rows that are lost, doubled or out of order, and fields that are missing."""
    lines = folder.metrics.read_text().splitlines()
    rows = [json.loads(line, parse_constant=pytest.fail) for line in lines]
    assert [(row["step"], row["split"]) for row in rows] == [
        (5, "train"),
        (10, "train"),
        (10, "dev"),
        (15, "train"),
        (20, "train"),
        (20, "dev"),
    ]
    for row in rows:
        scores = {"step", "split", "loss", "accuracy"}
        assert set(row) == scores | ({"seconds_per_step"} if row["split"] == "train" else set())
        assert row["loss"] > 0
        assert 0 <= row["accuracy"] <= 1
    summary = folder.read_summary()
    assert summary["finished"] is True
    assert summary["step"] == 20
    assert summary["accuracy_low"] <= summary["accuracy"] <= summary["accuracy_high"]
    assert summary["floors"]["best"] >= summary["floors"]["in_document"] == 0.5


PROPERTIES = ("length", "distance", "pairs")


def test_slices_are_of_the_same_answers(folder):
    """Catches slices of other documents than those of the summary, or without some of them."""
    sliced = read_table(folder.slices).to_dict("records")
    by_name = {name: [row for row in sliced if row["property"] == name] for name in PROPERTIES}
    assert sum(map(len, by_name.values())) == len(sliced)
    assert len(by_name["distance"]) > 1
    for rows in by_name.values():
        assert sum(row["queries"] for row in rows) == 16
        right = sum(row["accuracy"] * row["queries"] for row in rows)
        assert right / 16 == pytest.approx(folder.read_summary()["accuracy"])


def test_another_evaluation_of_a_finished_run(folder):
    """Catches a config that says of which documents the answers are, and answers of others."""
    before, known = folder.metrics.read_text(), folder.read_summary()
    runs.train(small.experiment(small.ONE_LAYER | {"evaluation.split": "dev"}), folder.path)
    summary = folder.read_summary()
    assert folder.experiment().evaluation.split == summary["split"] == "dev"
    assert (summary["step"], summary["finished"]) == (20, True)
    assert summary["loss"] != known["loss"]
    assert folder.metrics.read_text() == before
    runs.train(small.experiment(small.ONE_LAYER), folder.path)
    assert folder.read_summary() == known
    assert folder.experiment().evaluation.split == known["split"]


def test_what_a_damaged_summary_says_to_do(folder):
    """Catches advice that does not help: a summary that stays damaged, or comes back another."""
    before = {path.name: path.read_bytes() for path in folder.path.iterdir() if path.is_file()}
    folder.summary.write_text("{")
    with pytest.raises(UserError, match="remove it: the command that trained the run"):
        runs.train(small.experiment(small.ONE_LAYER), folder.path)
    folder.summary.unlink()
    runs.train(small.experiment(small.ONE_LAYER), folder.path)
    assert before == {
        path.name: path.read_bytes() for path in folder.path.iterdir() if path.is_file()
    }


def test_a_finished_run_without_checkpoints_says_that_it_is_trained_anew(folder, capfd):
    """Catches hours of training that nobody asked for, without a word."""
    runs.train(small.experiment(small.ONE_LAYER), folder.path)
    assert "finished, nothing to train" in capfd.readouterr().err
    known = folder.read_summary()
    shutil.rmtree(folder.checkpoints)
    runs.train(small.experiment(small.ONE_LAYER), folder.path)
    assert "its checkpoints are gone: trained anew" in capfd.readouterr().err
    assert folder.read_summary() == known
    folder.go_on("attention", known["step"] - 1)
    assert "its newest checkpoint is gone: trained again from" in capfd.readouterr().err
    folder.update_summary(finished=True)


def test_a_finished_run_that_is_trained_again_is_not_finished(folder, tmp_path, capfd):
    """Catches a run that is broken off half-way, and stands as complete."""
    copied = RunFolder(shutil.copytree(folder.path, tmp_path / "copy"))
    known = copied.read_summary()
    copied.go_on("attention", known["step"])
    assert copied.read_summary() == known
    copied.go_on("attention", known["step"] - 1)
    assert f"trained again from step {known['step'] - 1}" in capfd.readouterr().err
    assert not copied.read_summary()["finished"]
