"""Runs side by side: each with its own numbers."""

import pytest

from mecheval_jax.reporting.html import comparison, reading
from mecheval_jax.store.left_out import LeftOut
from mecheval_jax.store.run_folder import RunFolder
from tests.support.reported_runs import make_run


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    home = tmp_path_factory.mktemp("runs")
    accuracies = {"one": 0.912, "two": 0.3, "three": 0.71}
    folders = [
        RunFolder(make_run(home / name, accuracy=accuracy, interchange=name != "two"))
        for name, accuracy in accuracies.items()
    ]
    left_out = LeftOut()
    runs = reading.read_all(folders, left_out)
    ids = {run.name: f"run{i}" for i, run in enumerate(runs)}
    return comparison.comparison(runs, ids, home / "out", "comparison", left_out), home / "out"


def test_every_run_has_its_own_row(found):
    """Catches a number of another run, and a link to another section."""
    rows, _ = found[0]["table"].rows, None
    assert [(row["run"], row["link"], row["accuracy"], row["@value"]) for row in rows] == [
        ("one", "#run0", 0.912, 0.93),
        ("two", "#run1", 0.3, None),
        ("three", "#run2", 0.71, 0.93),
    ]
    texts = found[0]["table"].texts()
    assert texts["@value"].tolist() == ["0.93 [0.88, 0.98]", "-", "0.93 [0.88, 0.98]"]
    assert "published" not in texts  # no run of the study's task
    assert found[0]["absent"] == ["two"]


def test_files_stand_beside_the_report(found):
    """Catches figures and tables that are on the page alone."""
    names = {path.name for path in found[1].rglob("*") if path.is_file()}
    assert {"comparison_layer_1.svg", "comparison_accuracy.png", "comparison_runs.tex"} <= names
    assert set(found[0]["figures"]) == {"scatter", "accuracy"}  # all have one width
