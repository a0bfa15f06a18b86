"""An operation beside its plain twin: seeded arguments, and a comparison in value and gradient."""

import jax
import jax.numpy as jnp
import numpy as np

BATCH, WIDTH, STATE = 2, 3, 5  # the scan's kernel pads the state to a power of two


def normal(key, *shape):
    """Seeded normal numbers."""
    return np.random.default_rng(key).normal(size=shape)


def check(op, twin, arguments):
    """Value and gradient of `op` are the twin's, in float64.

    The twin's gradient is a central difference along a random direction, for each argument.
    """
    weight = normal(10, *np.shape(twin(*arguments)))
    with jax.enable_x64(True):

        @jax.jit
        def value_and_gradients(*arguments):
            y, pull_back = jax.vjp(op, *arguments)
            return y, pull_back(jnp.asarray(weight))

        y, gradients = value_and_gradients(*(jnp.asarray(a) for a in arguments))
    y, gradients = jax.tree.map(np.asarray, (y, gradients))
    np.testing.assert_allclose(y, twin(*arguments), rtol=1e-10, atol=1e-10)
    step = 1e-6
    for i, gradient in enumerate(gradients):
        direction = normal(20 + i, *arguments[i].shape)
        up, down = (
            (weight * twin(*arguments[:i], arguments[i] + move, *arguments[i + 1 :])).sum()
            for move in (step * direction, -step * direction)
        )
        scale = np.sqrt((gradient**2).sum())
        expected = (up - down) / (2 * step)
        np.testing.assert_allclose((gradient * direction).sum(), expected, atol=1e-6 * (1 + scale))


def scan_arguments(length):
    """x, dt, A, B and C of a selective scan."""
    x, dt = normal(0, BATCH, length, WIDTH), np.exp(normal(1, BATCH, length, WIDTH))
    A = -np.exp(normal(2, WIDTH, STATE))
    B, C = normal(3, BATCH, length, STATE), normal(4, BATCH, length, STATE)
    return x, dt, A, B, C
