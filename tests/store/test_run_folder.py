"""The folder of a run: whose it is, and what survives a cut."""

import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.store.run_folder import RunFolder
from tests.support import small


def test_another_config_is_refused_by_name(tmp_path):
    """Catches a run that goes on in, or overwrites, another's folder."""
    folder = RunFolder(tmp_path / "run")
    folder.open(small.experiment())
    folder.open(small.experiment({"evaluation.documents": 17}))  # the model is the same
    with pytest.raises(UserError, match=r"model.width is 16 there and 32 here"):
        folder.open(small.experiment({"model.width": 32}))


def test_all_fields_that_differ_are_named(tmp_path):
    """Catches a message that leaves the user to compare two files."""
    folder = RunFolder(tmp_path / "run")
    folder.open(small.experiment())
    other = small.experiment({"model.mixer": "based", "task.min_pairs": 1}, learning_rate=0.5)
    with pytest.raises(UserError) as caught:
        folder.open(other)
    for difference in (
        "model.mixer is 'attention' there and 'based' here",
        "task.min_pairs is None there and 1 here",
        "training.learning_rate is 0.001 there and 0.5 here",
    ):
        assert difference in str(caught.value)
    assert folder.experiment() == small.experiment()


def test_summary_grows(tmp_path):
    """Catches an accuracy that is lost when the verdict is added."""
    folder = RunFolder(tmp_path)
    assert folder.read_summary() == {}
    folder.update_summary(accuracy=0.5)
    assert folder.update_summary(verdict="induction") == {"accuracy": 0.5, "verdict": "induction"}
    folder.summary.write_text("{")
    with pytest.raises(UserError, match="damaged"):
        folder.read_summary()
