"""Rotary positions and ALiBi."""

import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.ops.rotary import alibi_slopes, rotary, turn
from tests.support.twins import normal


# Catches channels that are paired as neighbours where halves are meant, a turn the wrong way, and
# channels beyond the rotary share that are turned too.
def test_rotary():
    x = normal(0, 2, 5, 3, 8)
    positions = np.array([[0, 1, 2, 3, 4], [7, 7, 0, 1, 30]])
    y = np.asarray(rotary(jnp.asarray(x, jnp.float32), jnp.asarray(positions), 100.0, channels=6))
    np.testing.assert_array_equal(y[..., 6:], x[..., 6:].astype(np.float32))
    first, second = x[..., :3], x[..., 3:6]
    angle = positions[..., None, None] * 100.0 ** (-np.arange(3) / 3)
    turned = (first + 1j * second) * np.exp(1j * angle)
    np.testing.assert_allclose(y[..., :3], turned.real, atol=1e-5)
    np.testing.assert_allclose(y[..., 3:6], turned.imag, atol=1e-5)


# Catches slopes that are only right for powers of 2: the published list for 12 heads.
def test_alibi_slopes():
    np.testing.assert_allclose(alibi_slopes(8), [2.0**-i for i in range(1, 9)])
    expected = [2.0**-i for i in range(1, 9)] + [2.0 ** -(i + 0.5) for i in range(4)]
    np.testing.assert_allclose(alibi_slopes(12), expected)


# Catches planes of the other layout, a turn the other way, and channels that turn without a plane.
@pytest.mark.parametrize("neighbours", [True, False])
def test_turned_planes(neighbours):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(3, 8)), jnp.float32)
    angle = jnp.array([[0.3, 2.0], [1.0, -1.0], [0.0, 0.5]])
    got, x = np.asarray(turn(x, angle, neighbours)), np.asarray(x)
    for i in range(4):
        plane = [2 * i, 2 * i + 1] if neighbours else [i, 4 + i]
        a = np.asarray(angle)[:, i] if i < 2 else np.zeros(3)
        turned = (x[:, plane] @ [1, 1j]) * np.exp(1j * a)
        np.testing.assert_allclose(got[:, plane] @ [1, 1j], turned, atol=1e-6)
