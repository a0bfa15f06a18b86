"""Seeded arguments of the operations whose states are matrices."""

import chex
import jax
import jax.numpy as jnp
import numpy as np

from tests.support.twins import normal

LENGTHS = (1, 9, 64, 100)
"""One chunk, padded and not, and several of 32: with a remainder and without."""


BATCH, HEADS, KEY, VALUE = 1, 2, 3, 4


def unit(x):
    """Vectors of length 1, along the last axis."""
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


KINDS = ("decay", "delta", "general")
"""Linear attention with decay; y = -k; and any x and y."""


def log_decays(length, decayed):
    """Logarithms of decays, for each key channel or head."""
    return -np.exp(normal(3, BATCH, length, HEADS, decayed) - 1)


def arguments(kind, length, decayed):
    """q, and k, u, log_decay, x and y as far as this kind has them."""
    shape = (BATCH, length, HEADS)
    q, k, u, x, y = (normal(i, *shape, size) for i, size in enumerate((KEY, KEY, VALUE, KEY, KEY)))
    update = [k, u, log_decays(length, decayed), unit(x), -0.5 * unit(y + x)]
    if kind == "delta":
        update[0], update[3] = unit(k), unit(k + x)
    return [q, *update[: {"decay": 3, "delta": 4, "general": 5}[kind]]]


def value_and_gradients(op, *arguments):
    """In float32: outputs, and gradients of their sum."""
    y, pull_back = jax.vjp(op, *(jnp.asarray(a, jnp.float32) for a in arguments))
    return y, pull_back(jnp.ones_like(y))


def extreme_decays(decayed):
    """Logarithms of decays of 40 tokens: of nothing, of everything, and in one head by turns."""
    log_decay = log_decays(40, decayed)
    log_decay = np.where(normal(7, *log_decay.shape) > 1, -1e30, log_decay)
    log_decay[:, :, 0] = np.where(normal(8, 40, 1) > 0, -1e-12, -1e4)
    return log_decay


def check_at_extremes(op, twin, arguments):
    """The value is the twin's in float32, and no gradient is infinite."""
    y, gradients = jax.jit(lambda *a: value_and_gradients(op, *a))(*arguments)
    expected = twin(*arguments)
    np.testing.assert_allclose(y, expected, atol=1e-5 * np.abs(expected).max())
    chex.assert_tree_all_finite(gradients)
