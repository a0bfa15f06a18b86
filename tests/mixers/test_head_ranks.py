"""Several inputs and outputs of each head."""

import jax
import jax.numpy as jnp
import numpy as np

from mecheval_jax.mixers.head_ranks import HeadRanks


# Catches ranks that share a weight, a gate after the sum, and weights where there is one rank.
def test_inputs_and_outputs():
    heads, ranks, channels = 2, 3, 4
    module = HeadRanks(heads, ranks, channels)
    draw = np.random.default_rng(0)
    x, y = draw.normal(size=(5, heads, channels)), draw.normal(size=(5, heads, ranks, channels))
    z = draw.normal(size=(5, heads * channels))
    x, y, z = (jnp.asarray(h, jnp.float32) for h in (x, y, z))
    init = lambda key: module.init(key, y, z, method="output")["params"]
    params = init(jax.random.key(0))
    np.testing.assert_allclose(params["x"], 1 / 3, rtol=1e-6)
    np.testing.assert_array_equal(params["z"], 1)
    params = {n: jnp.asarray(draw.normal(size=(heads, ranks, channels))) for n in params}
    inputs = module.apply({"params": params}, x, method="inputs")
    np.testing.assert_allclose(inputs, params["x"][None] * x[:, :, None], rtol=1e-5)
    got = module.apply({"params": params}, y, z, method="output")
    gate = params["z"][None] * z.reshape(5, heads, 1, channels)
    expected = (params["o"][None] * y * gate / (1 + np.exp(-gate))).sum(axis=2).reshape(5, -1)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
    alone = HeadRanks(heads, 1, channels)
    np.testing.assert_array_equal(alone.apply({}, x, method="inputs")[:, :, 0], x)
