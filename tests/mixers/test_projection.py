"""The projection into several parts."""

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.mixers.initializers import uniform_fan_in
from mecheval_jax.mixers.projection import Projection, together
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


class Two(nn.Module):
    """Two dense layers that read the same input, together or apart."""

    use_bias: bool
    joint: bool

    def setup(self):
        self.one, self.other = (nn.Dense(size, use_bias=self.use_bias) for size in (6, 3))

    def __call__(self, x):
        if self.joint:
            return together(x, self.one, self.other)
        return [self.one(x), self.other(x)]


@pytest.mark.parametrize("use_bias", [True, False])
def test_layers_together_are_the_layers(use_bias):
    """Catches columns of another layer, a forgotten bias, and parameters of another tree."""
    x = jax.random.normal(jax.random.key(0), (2, 5, 4))
    apart, joint = (Two(use_bias, together) for together in (False, True))
    params = apart.init(jax.random.key(1), x)
    small.assert_same_bits(params, joint.init(jax.random.key(1), x))
    params = jax.tree.map(lambda leaf: leaf + jnp.arange(leaf.size).reshape(leaf.shape) / 9, params)

    def loss(params, module):
        return sum((jnp.sin(y) * (i + 1)).sum() for i, y in enumerate(module.apply(params, x)))

    outputs = [module.apply(params, x) for module in (apart, joint)]
    chex.assert_trees_all_close(*outputs, atol=1e-5)
    chex.assert_trees_all_close(*(jax.grad(loss)(params, m) for m in (apart, joint)), atol=1e-5)
    text = str(jax.make_jaxpr(lambda params: joint.apply(params, x))(params))
    assert text.count("dot_general") == 1
