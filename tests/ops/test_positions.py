"""Outputs at some positions alone."""

import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.ops.positions import at_positions, from_positions
from tests.support.twins import normal


# Catches positions of one document read from another, and a copy where none is needed.
@pytest.mark.parametrize("channels", [(), (3,), (2, 3)])
def test_at_positions(channels):
    x = jnp.asarray(normal(0, 2, 5, *channels))
    positions = jnp.array([[4, 0, 4], [1, 2, 3]])
    expected = np.stack([np.asarray(x)[i, row] for i, row in enumerate(positions)])
    np.testing.assert_array_equal(at_positions(x, positions), expected)
    assert at_positions(x, None) is x


# Catches rows that are put into another document or place, and one that is counted twice.
@pytest.mark.parametrize("channels", [(), (3,), (2, 3)])
def test_from_positions(channels):
    x = jnp.asarray(normal(0, 2, 5, *channels))
    positions = jnp.array([[4, 0, 4], [1, 2, 3]])
    expected = np.zeros_like(x)
    for i, row in enumerate(positions):
        expected[i, row] = np.asarray(x)[i, row]
    found = from_positions(at_positions(x, positions), positions, 5)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert from_positions(x, None, 5) is x
