"""Inverses of matrices, and their gradient, however the inverse is computed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.ops.inverses import inverse_of_unit_lower, inverting
from tests.support.twins import check, normal


# Catches a gradient that is transposed, has the other sign, or is that of the way to the inverse.
def test_the_gradient_is_that_of_the_inverse():
    A, weights = np.eye(3) + 0.2 * normal(0, 2, 3, 3), normal(1, 2, 3, 3)

    def through(invert):
        return jax.grad(lambda A: (invert(A) * weights).sum())(jnp.asarray(A))

    without_a_way = inverting(lambda A: jax.lax.stop_gradient(jnp.linalg.inv(A)), "highest")
    np.testing.assert_allclose(through(without_a_way), through(jnp.linalg.inv), rtol=1e-4)


# Catches blocks that are inverted in the wrong order, and a gradient without its sign.
@pytest.mark.parametrize("size", [1, 5, 12, 13, 37])
def test_the_inverse_of_a_lower_triangle(size):
    lower = lambda A: np.tril(A, -1)
    twin = lambda A: np.linalg.inv(np.eye(size) + lower(A))
    check(lambda A: inverse_of_unit_lower(jnp.tril(A, -1)), twin, [normal(0, 2, 1, size, size)])


# Catches a way to the inverse through numbers that are large beside it, as powers of A are.
def test_an_inverse_of_keys_that_are_alike_is_exact():
    A = np.tril(np.full((48, 48), 1.9, np.float32), -1)
    expected = np.linalg.inv(np.eye(48) + A.astype(np.float64))
    got = jax.jit(inverse_of_unit_lower)(jnp.asarray(A))
    np.testing.assert_allclose(got, expected, atol=2e-5)


# Catches numbers on and above the diagonal that are read, or have a gradient.
def test_the_rest_of_the_matrix_is_not_read():
    A = normal(0, 2, 20, 20)
    got, of_lower = (inverse_of_unit_lower(jnp.asarray(x)) for x in (A, np.tril(A, -1)))
    np.testing.assert_array_equal(got, of_lower)
    gradient = jax.grad(lambda A: jnp.sin(inverse_of_unit_lower(A)).sum())(jnp.asarray(A))
    assert np.abs(gradient).max() > 0
    assert not np.triu(gradient).any()
