"""A run whose numbers are no longer finite."""

import jax
import numpy as np
import pytest

from mecheval_jax import runs
from mecheval_jax.store.run_folder import RunFolder
from mecheval_jax.training.checkpoints import Checkpoints
from mecheval_jax.training.divergence import Diverged
from tests.support import small


def states_of(folder, experiment):
    """Every checkpoint of a folder."""
    form = small.programs(experiment).saved_form
    steps = sorted(int(path.name) for path in folder.checkpoints.iterdir())
    states = []
    for step in steps:
        checkpoints = Checkpoints(folder.checkpoints)
        states.append(checkpoints.read(step, form))
        checkpoints.close()
    return dict(zip(steps, states, strict=True))


def test_divergence_is_named_and_never_saved(tmp_path):
    """Catches a run that goes on with numbers that are none, or saves them."""
    experiment = small.experiment(
        small.ONE_LAYER, learning_rate=1e9, checkpoint_every=1, warmup_fraction=0.5
    )
    with pytest.raises(Diverged) as caught:
        runs.train(experiment, tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    states = states_of(folder, experiment)
    assert f"at step {caught.value.step} " in str(caught.value)
    assert "1e+09" in str(caught.value)
    assert f"the checkpoint of step {max(states)} is kept" in str(caught.value)
    assert caught.value.step in (max(states), max(states) - 1)
    for state in states.values():
        for leaf in jax.tree.leaves((state["params"], state["moments"])):
            assert np.isfinite(np.asarray(leaf)).all()
    assert folder.read_summary() == {"finished": False, "diverged_at": caught.value.step}
    for row in folder.read_metrics():
        assert np.isfinite(row["loss"])


def test_divergence_in_the_last_update(tmp_path):
    """Catches a check of the losses alone: that of the last step does not see its update."""
    experiment = small.experiment(
        small.ONE_LAYER,
        steps=1,
        warmup_fraction=0.0,
        learning_rate=1e38,
        weight_decay=1e10,
    )
    with pytest.raises(Diverged, match="at step 0 "):
        runs.train(experiment, tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    assert not states_of(folder, experiment)
    assert folder.read_summary() == {"finished": False, "diverged_at": 0}
