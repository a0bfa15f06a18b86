"""What is checked before a training begins."""

import dataclasses

import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.training import footprint
from mecheval_jax.training.checks import check_training
from tests.support import small


@pytest.mark.parametrize(
    ("mixer", "available", "message"),
    [
        ("tests.support.broken_mixers:Fading", 2**40, None),
        ("tests.support.broken_mixers:Foreseeing", 2**40, "Foreseeing.* not causal"),
        ("tests.support.broken_mixers:Foreseeing", 2**10, "this takes at least"),
    ],
)
def test_memory_and_mixers_are_checked(mixer, available, message, monkeypatch):
    """Catches a training that begins with a mixer that breaks its promises, or without memory."""
    monkeypatch.setattr(footprint, "total_memory", lambda: available)
    experiment = small.experiment()
    model = dataclasses.replace(experiment.model, mixer=mixer)
    if message is None:
        check_training(model, experiment.task, experiment.training, 16)
        return
    with pytest.raises(UserError, match=message):
        check_training(model, experiment.task, experiment.training, 16)
