"""First weights drawn as the study's program draws them, and a run that goes on from there."""

import json

import jax
import numpy as np
import pytest

from mecheval_jax import runs
from mecheval_jax.errors import UserError
from mecheval_jax.interop import from_reference
from mecheval_jax.models.language_model import ModelConfig, parameter_shapes
from tests.support import golden_files, small
from tools.first_weights import begin, state_dict

GOLDEN = json.loads((golden_files.FOLDER / "init_stats_d64_np1024.json").read_text())
MODEL = ModelConfig("mamba", 2, 64, 8196, 1024)
EXPERIMENT = small.experiment({"model.mixer": "mamba", "model.layers": 1}, steps=2)


def test_the_laws_are_the_studys():
    """Catches a wrong scale, a normal distribution in place of a uniform one, a missing entry."""
    drawn = state_dict(MODEL, np.random.default_rng(0))
    known = GOLDEN["mamba"]["params"]
    assert set(known) == set(drawn) - {"lm_head.weight"} | {
        "backbone.embeddings.position_embeddings.weight"
    }
    for name in set(drawn) & set(known):
        ours, theirs = drawn[name], known[name]
        assert list(ours.shape) == theirs["shape"]
        if theirs["std"] == 0:
            np.testing.assert_array_equal(ours, theirs["mean"])
            continue
        error = 5 * np.sqrt(2 / ours.size)  # two samples, five standard errors
        assert abs(ours.mean() - theirs["mean"]) < error * theirs["std"], name
        assert abs(ours.std() / theirs["std"] - 1) < error, name
        if "embeddings" not in name and ours.size >= 500:  # laws with ends
            found = ours.min(), ours.max()
            np.testing.assert_allclose(found, (theirs["min"], theirs["max"]), rtol=0.05, atol=1e-6)
    tree = from_reference(drawn, MODEL)
    assert jax.tree.map(np.shape, tree) == jax.tree.map(np.shape, parameter_shapes(MODEL))


def test_a_run_goes_on_from_there(tmp_path, capsys):
    """Catches weights that are drawn anew when training begins."""
    begin(EXPERIMENT, tmp_path / "run")
    expected = from_reference(
        state_dict(EXPERIMENT.model, np.random.default_rng(EXPERIMENT.training.seed)),
        EXPERIMENT.model,
    )
    small.assert_same_bits(runs.load(tmp_path / "run", 0).params, expected)
    runs.train(EXPERIMENT, tmp_path / "run")
    assert "resuming at step 0" in capsys.readouterr().err
    last = runs.load(tmp_path / "run")
    assert last.step == 2
    # Adam moves no entry further than the rates of its steps together.
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), last.params, expected)
    assert 0 < max(jax.tree.leaves(moved)) < 2 * EXPERIMENT.training.learning_rate


def test_what_cannot_begin(tmp_path):
    """Catches weights of another mixer's laws, and a run whose first checkpoint is replaced."""
    with pytest.raises(UserError, match="attention is not mamba"):
        begin(small.experiment({"model.mixer": "attention"}), tmp_path / "run")
    begin(EXPERIMENT, tmp_path / "run")
    with pytest.raises(UserError, match="has a run that has begun"):
        begin(EXPERIMENT, tmp_path / "run")
