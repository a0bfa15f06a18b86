"""The linear attention of Based (Arora et al. 2024).

    a[t, s] = 1 + u + u^2 / 2,   u = q[t] . k[s] / sqrt(d_feature),   s <= t
    y[t] = W_o sum_s a[t, s] v[s] / (sum_s a[t, s] + 1e-12)

a second-order Taylor expansion of the softmax's exponential. As a recurrence it keeps
sum_s phi(k[s]) [v[s], 1] with the feature map of `ops.feature_maps.taylor_exp`.
Up to a few hundred tokens the quadratic form is the cheaper one: the feature map has
1 + 8 + 64 entries.
"""

import flax.linen as nn
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Float, Int
from mecheval_jax.errors import UserError
from mecheval_jax.mixers import initializers
from mecheval_jax.ops.feature_maps import taylor_exp
from mecheval_jax.ops.positions import at_positions

EPSILON = 1e-12


class Based(nn.Module):
    """Taylor linear attention.

    Attributes:
        width: channels of the residual stream.
        heads: number of heads; divides the width.
        feature_width: channels of a head's queries and keys.
    """

    width: int
    heads: int = 1
    feature_width: int = 8

    def setup(self):
        if self.width % self.heads:
            raise UserError(f"width {self.width} is not divisible by {self.heads} heads")

        def dense(features):
            return nn.Dense(features, use_bias=False, kernel_init=initializers.dense)

        self.proj_q = dense(self.heads * self.feature_width)
        self.proj_k = dense(self.heads * self.feature_width)
        self.proj_v = dense(self.width)
        self.proj_o = dense(self.width)

    def _project(self, read, x):
        """Queries of `read`, keys and values of `x`, each [..., heads, channels]."""
        projections = (self.proj_q(read), self.proj_k(x), self.proj_v(x))
        return tuple(p.reshape(*p.shape[:-1], self.heads, -1) for p in projections)

    def __call__(
        self,
        x: Float[Array, "batch length width"],
        positions: Int[Array, "batch queries"] | None = None,
    ) -> Float[Array, "batch positions width"]:
        """Mix all tokens at once, in the quadratic form; at `positions`, or everywhere."""
        q, k, v = self._project(at_positions(x, positions), x)
        u = jnp.einsum("blhk,bshk->bhls", q, k) * self.feature_width**-0.5
        index = jnp.broadcast_to(jnp.arange(x.shape[1]), x.shape[:2])
        visible = index[:, None, :] <= at_positions(index, positions)[..., None]
        weights = jnp.where(visible[:, None], 1 + u + u**2 / 2, 0)
        weights = weights / (weights.sum(axis=-1, keepdims=True) + EPSILON)
        heads = jnp.einsum("bhls,bshv->blhv", weights, v)
        return self.proj_o(heads.reshape(*q.shape[:2], self.width))

    def initial_state(self, batch: int, max_length: int) -> dict[str, Array]:
        """Empty sums; their size does not depend on `max_length`."""
        del max_length
        features = 1 + self.feature_width + self.feature_width**2
        return {
            "sum": jnp.zeros((batch, self.heads, features, self.width // self.heads)),
            "normalizer": jnp.zeros((batch, self.heads, features)),
        }

    def step(
        self, state: dict[str, Array], x_t: Float[Array, "batch width"]
    ) -> tuple[dict[str, Array], Float[Array, "batch width"]]:
        """Mix one token: the next state and its output."""
        q, k, v = self._project(x_t, x_t)
        q, k = taylor_exp(q), taylor_exp(k)
        total = state["sum"] + k[..., None] * v[..., None, :]
        normalizer = state["normalizer"] + k
        read = jnp.einsum("bhf,bhfv->bhv", q, total)
        read = read / (jnp.einsum("bhf,bhf->bh", q, normalizer)[..., None] + EPSILON)
        return {"sum": total, "normalizer": normalizer}, self.proj_o(read.reshape(x_t.shape))
