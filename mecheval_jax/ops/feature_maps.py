"""Feature maps phi with which softmax attention becomes linear attention.

exp(q . k / sqrt(key)) is replaced by phi(q) . phi(k) (Katharopoulos et al. 2020).
"""

import jax.numpy as jnp

from mecheval_jax.array_types import Array, Float


def taylor_exp(x: Float[Array, "*axes key"]) -> Float[Array, "*axes features"]:
    """Feature map of Based (Arora et al. 2024).

    phi(x) = [1, x / r^(1/2), x (x) x / (r sqrt 2)] with r = sqrt(key) and (x) the outer
    product. Its inner product is the second-order Taylor expansion of the exponential,
    phi(q) . phi(k) = 1 + u + u^2 / 2 with u = q . k / sqrt(key). The result has
    1 + key + key^2 features.
    """
    size = x.shape[-1]
    second = (x[..., :, None] * x[..., None, :]).reshape(*x.shape[:-1], size * size)
    scale = size**0.5
    features = (jnp.ones_like(x[..., :1]), x / scale**0.5, second / (scale * 2**0.5))
    return jnp.concatenate(features, axis=-1)
