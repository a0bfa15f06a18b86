"""The state of training, and the part of it that checkpoints hold."""

import dataclasses

import jax
import numpy as np

from mecheval_jax.training.config import TrainingConfig
from mecheval_jax.training.optimizer import Hyperparameters
from mecheval_jax.training.state import (
    HYPERPARAMETERS,
    NEVER,
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
