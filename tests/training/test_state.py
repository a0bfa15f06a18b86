"""The state of training, and the part of it that checkpoints hold."""

import dataclasses

import jax
import numpy as np
import pytest

from mecheval_jax import runs
from mecheval_jax.store.run_folder import RunFolder
from mecheval_jax.training.checkpoints import Checkpoints
from mecheval_jax.training.config import TrainingConfig
from mecheval_jax.training.optimizer import Hyperparameters
from mecheval_jax.training.state import (
    HYPERPARAMETERS,
    NEVER,
    Diverged,
    flags_of,
    hyperparameters_of,
    restored_state,
    saved_part,
)
from tests.support import small


def test_checkpoints_have_the_names_of_0_4():
    """Catches checkpoints of before that cannot be read, and a part that is lost on the way."""
    state = small.programs(small.experiment(small.ONE_LAYER)).create()
    saved = saved_part(state)
    assert set(saved) == {"step", "params", "moments", "diverged_at", "stopped_at"}
    back = restored_state(saved, state.hyperparameters, state.key)
    small.assert_same_bits(back, state)


def test_hyperparameters_are_fields_of_the_config():
    """Catches a value that is baked into the program, or kept as another type than its own."""
    names = {field.name for field in dataclasses.fields(TrainingConfig)}
    assert set(HYPERPARAMETERS) <= names
    assert list(HYPERPARAMETERS) == [field.name for field in dataclasses.fields(Hyperparameters)]
    values = hyperparameters_of(TrainingConfig(steps=7, seed=2**32 - 1, learning_rate=0.5))
    assert (values.steps, values.seed, values.learning_rate) == (7, 2**32 - 1, 0.5)
    assert values.seed.dtype == np.uint32


def test_who_learns():
    """Catches a run that goes on after its end, its target or its divergence."""
    state = small.programs(small.experiment(small.ONE_LAYER, steps=4)).create()
    for changes, learns in (
        ({}, True),
        ({"step": 3}, True),
        ({"step": 4}, False),
        ({"step": 2, "diverged_at": 2}, False),
        ({"step": 2, "stopped_at": 2}, False),
    ):
        fields = {name: np.int32(value) for name, value in changes.items()}
        flags = jax.device_get(flags_of(state.replace(**fields)))
        assert flags["learns"].tolist() == [learns], changes
        assert flags["diverged_at"].tolist() == [changes.get("diverged_at", NEVER)]


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
    assert str(caught.value).endswith("take a lower learning rate")
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
    with pytest.raises(Diverged, match=r"at step 0 .* lower learning rate, or look at the options"):
        runs.train(experiment, tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    assert not states_of(folder, experiment)
    assert folder.read_summary() == {"finished": False, "diverged_at": 0}
