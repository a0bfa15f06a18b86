"""Seeded arguments of the operations whose states are matrices."""

import chex
import jax
import jax.numpy as jnp
import numpy as np

from tests.support.twins import normal

LENGTHS = (1, 2, 7, 64, 65, 100)  # chunks of 16: with a remainder and without


BATCH, HEADS, KEY, VALUE = 1, 2, 3, 4


def unit(x):
    """Vectors of length 1, along the last axis."""
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def attention_arguments(length, decayed):
    """q, k, v, log_decay."""
    shape = (BATCH, length, HEADS)
    q, k, v = normal(0, *shape, KEY), normal(1, *shape, KEY), normal(2, *shape, VALUE)
    return q, k, v, -np.exp(normal(3, *shape, decayed) - 1)


def delta_arguments(length):
    """q, k, v, beta, log_decay."""
    q, k, v, log_decay = attention_arguments(length, 1)
    return q, unit(k), v, 1 / (1 + np.exp(normal(4, BATCH, length, HEADS))), log_decay


def value_and_gradients(op, *arguments):
    """In float32: outputs, and gradients of their sum."""
    y, pull_back = jax.vjp(op, *(jnp.asarray(a, jnp.float32) for a in arguments))
    return y, pull_back(jnp.ones_like(y))


def extreme_decays(decayed):
    """Logarithms of decays of 40 tokens: of nothing, of everything, and in one head by turns."""
    log_decay = attention_arguments(40, decayed)[3]
    log_decay = np.where(normal(7, *log_decay.shape) > 1, -1e30, log_decay)
    log_decay[:, :, 0] = np.where(normal(8, 40, 1) > 0, -1e-12, -1e4)
    return log_decay


def check_at_extremes(op, twin, arguments):
    """The value is the twin's in float32, and no gradient is infinite."""
    y, gradients = jax.jit(lambda *a: value_and_gradients(op, *a))(*arguments)
    expected = twin(*arguments)
    np.testing.assert_allclose(y, expected, atol=1e-5 * np.abs(expected).max())
    chex.assert_tree_all_finite(gradients)
