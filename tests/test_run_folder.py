"""The folder of a run: whose it is, and what survives a cut."""

import json

import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.run_folder import RunFolder, read_json
from tests import small


def test_another_config_is_refused_by_name(tmp_path):
    """Catches a run that goes on in, or overwrites, another's folder."""
    folder = RunFolder(tmp_path / "run")
    folder.open(small.experiment())
    folder.open(small.experiment({"evaluation.documents": 17}))  # the model is the same
    with pytest.raises(UserError, match=r"model.width is 16 there and 32 here"):
        folder.open(small.experiment({"model.width": 32}))


def test_what_is_no_run_is_left_alone(tmp_path):
    """Catches files of somebody else's that end up among a run's."""
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(UserError, match="not empty and holds no run"):
        RunFolder(tmp_path).open(small.experiment())
    with pytest.raises(UserError, match="is a file"):
        RunFolder(tmp_path / "thesis.tex").open(small.experiment())
    with pytest.raises(UserError, match="no run"):
        RunFolder(tmp_path).experiment()


def test_provenance(tmp_path):
    """Catches numbers whose origin cannot be told."""
    folder = RunFolder(tmp_path / "run")
    experiment = small.experiment(seed=3)
    folder.open(experiment)
    provenance = read_json(folder.provenance)
    assert provenance["config_hash"] == experiment.fingerprint()
    assert provenance["seed"] == 3
    assert {"python", "jax", "flax", "optax", "mecheval_jax"} <= set(provenance["versions"])
    assert provenance["device"]["platform"] == "cpu"
    assert folder.experiment() == experiment


def test_metrics_that_were_cut_off(tmp_path):
    """Catches a broken last line that makes a run unreadable, and rows counted twice."""
    folder = RunFolder(tmp_path)
    rows = [{"step": step, "split": "train", "loss": 1.0} for step in (10, 20, 30)]
    folder.metrics.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 4')
    assert folder.read_metrics() == rows
    folder.forget_after(20)
    assert folder.read_metrics() == rows[:2]
    assert folder.metrics.read_text().count("\n") == 2


def test_summary_grows(tmp_path):
    """Catches an accuracy that is lost when the verdict is added."""
    folder = RunFolder(tmp_path)
    assert folder.read_summary() == {}
    folder.update_summary(accuracy=0.5)
    assert folder.update_summary(verdict="induction") == {"accuracy": 0.5, "verdict": "induction"}
    folder.summary.write_text("{")
    with pytest.raises(UserError, match="damaged"):
        folder.read_summary()
