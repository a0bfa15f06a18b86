"""Causal softmax attention (Vaswani et al. 2017).

    q, k, v = thirds of W x (+ b),   pattern = softmax(q k^T / sqrt(d_head)),
    y = W_o [pattern v of every head] + b_o

The study's setting: one head, no bias on q, k, v, a bias on the output.
"""

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Float, Int
from mecheval_jax.errors import UserError
from mecheval_jax.mixers import initializers
from mecheval_jax.ops.positions import at_positions

MASKED = -1e4
"""Score of a masked pair. The reference adds -10000; exp of either is 0 in float32."""


class Attention(nn.Module):
    """Causal self-attention.

    Attributes:
        width: channels of the residual stream.
        layers: depth of the model, which scales the output projection at initialisation.
        heads: number of heads; divides the width.
        bias: whether q, k and v have biases.
    """

    width: int
    layers: int = 1
    heads: int = 1
    bias: bool = False

    def setup(self):
        if self.width % self.heads:
            raise UserError(f"width {self.width} is not divisible by {self.heads} heads")
        self.q_proj, self.k_proj, self.v_proj = (
            nn.Dense(self.width, use_bias=self.bias, kernel_init=initializers.dense)
            for _ in range(3)
        )
        self.out_proj = nn.Dense(self.width, kernel_init=initializers.into_residual(self.layers))

    def _project(self, read, x):
        """Queries of `read`, keys and values of `x`, each [batch, length, heads, d_head]."""
        projections = (self.q_proj(read), self.k_proj(x), self.v_proj(x))
        return tuple(p.reshape(*p.shape[:2], self.heads, -1) for p in projections)

    def _read(self, q, k, v, visible):
        """Attention of queries over keys and values, projected to the residual stream."""
        scores = jnp.einsum("blhd,bshd->bhls", q, k) * q.shape[-1] ** -0.5
        pattern = jax.nn.softmax(jnp.where(visible, scores, MASKED), axis=-1)
        heads = jnp.einsum("bhls,bshd->blhd", pattern, v)
        return self.out_proj(heads.reshape(*q.shape[:2], self.width))

    def __call__(
        self,
        x: Float[Array, "batch length width"],
        positions: Int[Array, "batch queries"] | None = None,
    ) -> Float[Array, "batch positions width"]:
        """Mix all tokens at once; the outputs at `positions`, or everywhere."""
        index = jnp.broadcast_to(jnp.arange(x.shape[1]), x.shape[:2])
        visible = index[:, None, :] <= at_positions(index, positions)[..., None]
        return self._read(*self._project(at_positions(x, positions), x), visible[:, None])

    def initial_state(self, batch: int, max_length: int) -> dict[str, Array]:
        """The empty cache of keys and values, and the number of tokens seen."""
        cache = jnp.zeros((batch, max_length, self.heads, self.width // self.heads))
        return {"keys": cache, "values": cache, "position": jnp.zeros((), jnp.int32)}

    def step(
        self, state: dict[str, Array], x_t: Float[Array, "batch width"]
    ) -> tuple[dict[str, Array], Float[Array, "batch width"]]:
        """Mix one token: the next state and its output."""
        q, k, v = self._project(x_t[:, None], x_t[:, None])
        position = state["position"]
        chex.assert_equal_shape_suffix([k, state["keys"]], 2)
        keys = jax.lax.dynamic_update_slice_in_dim(state["keys"], k, position, axis=1)
        values = jax.lax.dynamic_update_slice_in_dim(state["values"], v, position, axis=1)
        visible = (jnp.arange(keys.shape[1]) <= position)[None, None, None]
        y = self._read(q, keys, values, visible)
        return {"keys": keys, "values": values, "position": position + 1}, y[:, 0]
