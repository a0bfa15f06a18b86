"""Planted models: their weights do what they say; for every kind see `planted_kinds`."""

import numpy as np
import pytest

from mecheval_jax.ground_truth import planted as planting
from mecheval_jax.interventions.capture import run
from mecheval_jax.models.language_model import LanguageModel
from tests.support import planted


def test_directions_are_orthonormal_and_free_of_the_mean():
    """Catches directions that a norm would mix."""
    found = np.concatenate(planting.directions(3, 16, 4, 5))
    np.testing.assert_allclose(found @ found.T, np.eye(9), atol=1e-12)
    np.testing.assert_allclose(found.sum(axis=1), 0, atol=1e-12)


@pytest.mark.parametrize("build", [planting.induction, planting.convolution])
def test_a_planted_model_answers(build):
    """Catches a mechanism that does not recall."""
    config, params, task = build(1)
    batch = planted.documents(task, 32)
    logits = run(LanguageModel(config), params, batch)
    assert (np.asarray(logits[:, 0]).argmax(axis=-1) == np.asarray(batch.targets[:, 0])).all()
