"""The models that are trained: every one can hold its mechanism."""

import pytest

from mecheval_jax.ground_truth.mechanisms import rules_of
from mecheval_jax.ground_truth.models import SETTINGS, SHAPES, TASK, TRAINED, shape_of


@pytest.mark.parametrize(("mixer", "mechanism"), TRAINED)
def test_every_model_can_hold_its_mechanism(mixer, mechanism):
    """Catches a combination that training would refuse, or a config of other documents."""
    config = shape_of(mixer, mechanism)
    assert rules_of(config, mechanism, TASK.usual_length)
    assert (config.vocabulary_size, config.max_length) == (TASK.vocabulary_size, TASK.max_length)


def test_settings_are_of_models_that_are_trained():
    """Catches settings under a misspelt name."""
    assert set(SETTINGS) | set(SHAPES) <= set(TRAINED)
