"""PaTH attention (Yang et al. 2025), with and without a forget gate.

    w = unit(silu(conv(W_2 W_1 x))),   beta = 2 sigmoid(W_b x + b),   H = I - beta w w^T
    scores[t, s] = k[s]^T H[s+1] ... H[t] q[t] / sqrt(d_head)

by head: each token reflects the keys of all before it. With ``forget_gate``, q and k of each head
are normalised first, and sum_{s < r <= t} log sigmoid(W_g x[r] + b) / sqrt(d_head) is added to the
scores (scaled as the products are, unlike in FoX). In flash-linear-attention gate and norms are
two options, and W_2 W_1 is one matrix of full rank where heads share keys. See `ops.householder`.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array
from mecheval_jax.mixers.delta_net import unit
from mecheval_jax.mixers.norms import HeadNorm
from mecheval_jax.mixers.pattern import repeated
from mecheval_jax.mixers.short_convolution import Local, ShortConvolution, reach_of_taps
from mecheval_jax.mixers.softmax_attention import SITES, SoftmaxAttention
from mecheval_jax.ops.householder import reflect, reflected_products
from mecheval_jax.ops.positions import at_positions


class PathAttention(SoftmaxAttention):
    """Attention whose positions are reflections; see `SoftmaxAttention` for other attributes.

    Attributes:
        rank: Inner width of the projection into the directions w.
        kernel: Number of taps of their convolution; 0 for none (its silu remains).
        forget_gate: Whether there are a forget gate and norms of queries and keys.
    """

    rank: int = 32
    kernel: int = 3
    forget_gate: bool = False

    SITES = SITES | {
        "w_input": "directions of the reflections before their convolution",
        "w": "directions of the reflections by head, of norm 1",
        "beta": "strengths of the reflections, 0 to 2",
        "forget": "logarithm of the forget gate, not yet scaled (only with it)",
    }

    @nn.nowrap
    def local_reach(self) -> dict[str, float]:
        """See `sites.reach_of`."""
        return super().local_reach() | {"w": reach_of_taps(self.kernel)}

    def setup(self):
        super().setup()
        shared = self.key_heads or self.heads
        self.w_down, self.w_up = self.dense(self.rank), self.dense(shared * self.head)
        self.w_conv = ShortConvolution(shared * self.head, self.kernel, use_bias=False)
        self.b_proj = self.dense(shared, use_bias=True)
        if self.forget_gate:
            self.f_proj = self.dense(self.heads, use_bias=True)
            self.q_norm, self.k_norm = HeadNorm(), HeadNorm()

    def project(
        self, x: Array, positions: Array | None, local: Local
    ) -> tuple[Array, Array, Array]:
        """Queries, keys and values of all tokens: products are computed for all queries."""
        return super().project(x, None, local)

    def prepare(self, q: Array, k: Array, read_index: Array, index: Array) -> tuple[Array, Array]:
        """Normalise both where there is a forget gate."""
        del read_index, index
        return (self.q_norm(q), self.k_norm(k)) if self.forget_gate else (q, k)

    def _reflections(self, x: Array, local: Local) -> tuple[Array, Array]:
        """Directions w and strengths beta of each token."""
        (w,) = local("w_conv", [self.w_input(self.w_up(self.w_down(x)))])
        w = self.w(unit(jax.nn.silu(w).reshape(*x.shape[:2], -1, self.head)))
        return w, self.beta(2 * jax.nn.sigmoid(self.b_proj(x)))

    def products(
        self, q: Array, k: Array, x: Array, positions: Array | None, local: Local
    ) -> Array:
        """Products of queries with keys that the tokens between them have reflected."""
        w, beta = self._reflections(x, local)
        w, beta = repeated(w, self.heads), repeated(beta[..., None], self.heads)[..., 0]
        rows = jnp.moveaxis(reflected_products(q, k, w, beta), 2, 1)
        return jnp.moveaxis(at_positions(rows, positions), 1, 2)

    def carried(self, keys: Array, x: Array, local: Local) -> Array:
        """Keys of earlier tokens, reflected by this one."""
        w, beta = self._reflections(x, local)
        return reflect(keys, w[:, 0], beta[:, 0])

    def fade(self, x: Array) -> Array | None:
        """Logarithm of the forget gate, times the scale of the scores."""
        if not self.forget_gate:
            return None
        return self.forget(jax.nn.log_sigmoid(self.f_proj(x))) * self.head**-0.5
