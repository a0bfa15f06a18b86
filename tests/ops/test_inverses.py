"""The gradient of an inverse, however it is computed."""

import jax
import jax.numpy as jnp
import numpy as np

from mecheval_jax.ops.inverses import inverting
from tests.support.twins import normal


# Catches a gradient that is transposed, has the other sign, or is that of the way to the inverse.
def test_the_gradient_is_that_of_the_inverse():
    A, weights = np.eye(3) + 0.2 * normal(0, 2, 3, 3), normal(1, 2, 3, 3)

    def through(invert):
        return jax.grad(lambda A: (invert(A) * weights).sum())(jnp.asarray(A))

    without_a_way = inverting(lambda A: jax.lax.stop_gradient(jnp.linalg.inv(A)), "highest")
    np.testing.assert_allclose(through(without_a_way), through(jnp.linalg.inv), rtol=1e-4)
