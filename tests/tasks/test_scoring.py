"""Scores of answers, against NumPy's."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from mecheval_jax.tasks.base import Batch
from mecheval_jax.tasks.scoring import score, weighted_mean


def batch_of(targets):
    shape = np.shape(targets)
    return Batch(
        tokens=jnp.zeros((len(targets), 1), jnp.int32),
        query_positions=jnp.zeros(shape, jnp.int32),
        targets=jnp.asarray(targets, jnp.int32),
        weights=jnp.ones(shape),
        roles={},
        lengths=jnp.ones(len(targets), jnp.int32),
    )


@pytest.mark.parametrize("target", range(4))
def test_the_likeliest_token(target):
    """Catches a tie that counts for every token, and a number that is none: NumPy's argmax."""
    rows = [[0, 1, 2, 3], [3, 3, 1, 3], [1, 1, 1, 1], [0, 2, 2, -1], [0, 1, math.nan, 3]]
    logits = jnp.asarray(rows)[:, None]
    correct = score(logits, batch_of(np.full((len(rows), 1), target))).correct[:, 0]
    expected = [not np.isnan(row).any() and np.argmax(row) == target for row in rows]
    np.testing.assert_array_equal(correct, expected)


@pytest.mark.parametrize("queries", [1, 3])
def test_loss_probability_and_logit(queries):
    """Catches logits that overflow, another query's answer, and a difference to another mean."""
    draw = np.random.default_rng(0)
    logits = 100 + 30 * draw.normal(size=(4, queries, 7))
    targets = draw.integers(7, size=(4, 3))  # of one query, those of the others are not scored
    found = score(jnp.asarray(logits, jnp.float32), batch_of(targets))
    asked = targets[:, :queries, None]
    log_p = np.take_along_axis(scipy.special.log_softmax(logits, axis=-1), asked, axis=-1)[..., 0]
    centred = np.take_along_axis(logits, asked, axis=-1)[..., 0] - logits.mean(axis=-1)
    np.testing.assert_allclose(found.loss, -log_p, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found.probability, np.exp(log_p), rtol=1e-4, atol=1e-9)
    np.testing.assert_allclose(found.logit, centred, rtol=1e-5, atol=1e-5)


def test_the_gradient_of_the_loss():
    """Catches a highest logit that the gradient flows through: softmax less the answer."""
    logits = jnp.asarray([[[0.0, 2.0, 2.0, -1.0]]])
    gradient = jax.grad(lambda logits: score(logits, batch_of([[1]])).loss.sum())(logits)
    np.testing.assert_allclose(
        gradient[0, 0], scipy.special.softmax(logits[0, 0]) - np.eye(4)[1], atol=1e-6
    )


def test_weighted_mean():
    """Catches a mean over all queries instead of those that count."""
    mean = weighted_mean(jnp.array([[1.0, 7.0], [3.0, 100.0]]), jnp.array([[1.0, 1.0], [2.0, 0.0]]))
    assert float(mean) == (1 + 7 + 2 * 3) / 4
