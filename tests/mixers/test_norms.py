"""Norms of the channels of each head."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.mixers.norms import HeadNorm


# Catches a norm over all heads, a scale that is shared where it is not or starts elsewhere than
# at 1 together with its offset, and a mean that stays.
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize(("offset", "center"), [(0.0, False), (1.0, True)])
def test_against_its_equation(shared, offset, center):
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32) + 2
    x = jnp.asarray(x)
    module = HeadNorm(1e-2, shared, offset, center)
    variables = module.init(jax.random.key(0), x)
    scale = variables["params"]["scale"]
    assert scale.shape == ((5,) if shared else (20,))
    np.testing.assert_array_equal(scale, 1 - offset)
    scale = scale + np.arange(scale.size)
    got = module.apply({"params": {"scale": scale}}, x)
    x = np.asarray(x)
    y = x - x.mean(axis=-1, keepdims=True) if center else x
    y = y / np.sqrt((y**2).mean(axis=-1, keepdims=True) + 1e-2)
    expected = y * (offset + np.asarray(scale).reshape((5,) if shared else (4, 5)))
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
    half = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), (variables, jnp.asarray(x)))
    assert module.apply(*half).dtype == jnp.bfloat16
