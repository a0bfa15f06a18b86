"""Feature maps of linear attention."""

import jax.numpy as jnp
import numpy as np

from mecheval_jax.ops.feature_maps import taylor_exp
from tests.support.twins import normal


# Catches a wrong coefficient of the expansion.
def test_taylor_features_expand_the_exponential():
    q, k = normal(0, 5, 8), normal(1, 5, 8)
    u = (q * k).sum(axis=-1) / np.sqrt(8)
    features_q, features_k = taylor_exp(jnp.asarray(q)), taylor_exp(jnp.asarray(k))
    assert features_q.shape == (5, 1 + 8 + 64)
    product = (features_q * features_k).sum(axis=-1)
    np.testing.assert_allclose(product, 1 + u + u**2 / 2, rtol=1e-4)
