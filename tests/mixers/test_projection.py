"""The projection into several parts."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.mixers.initializers import uniform_fan_in
from mecheval_jax.mixers.projection import Projection
from tests.support import small


@pytest.mark.parametrize("use_bias", [True, False])
def test_parts_are_slices_of_the_whole(use_bias):
    """Catches columns of another part, a forgotten bias, and weights drawn unlike Dense's."""
    sizes, x = (6, 3, 1), jax.random.normal(jax.random.key(0), (2, 5, 4))
    joint = Projection(4, sizes, use_bias, uniform_fan_in, shared=(1,))
    dense = nn.Dense(10, use_bias=use_bias, kernel_init=uniform_fan_in)
    params = joint.init(jax.random.key(1), x)
    small.assert_same_bits(params, dense.init(jax.random.key(1), x))
    params = jax.tree.map(lambda leaf: leaf + 1, params)
    whole = joint.apply(params, x)
    np.testing.assert_allclose(whole, dense.apply(params, x), atol=1e-5)
    parts = joint.apply(params, x, method="parts")
    assert [part.shape[-1] for part in parts] == list(sizes)
    np.testing.assert_allclose(jnp.concatenate(parts, -1), whole, atol=1e-5)
