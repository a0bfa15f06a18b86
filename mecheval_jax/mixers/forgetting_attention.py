"""Forgetting attention, FoX (Lin et al. 2025), and the layer FoX (Pro).

    scores = q k^T / sqrt(d_head) + sum_{s < r <= t} log sigmoid(W_f x[r] + b),   no positions

With ``norm``, q and k of each head are divided by their root mean square. With ``gated``, what is
read is multiplied by sigmoid(W_g x) before the output projection. With ``shift``, keys and values
are mixed with those of the token before, u <- al u[t-1] + (1 - al) u[t], al = sigmoid(W_al x) for
each head. With ``output_norm``, what each head reads is normalised as well. Pro has all four.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array
from mecheval_jax.mixers.norms import HeadNorm
from mecheval_jax.mixers.short_convolution import Local, TokenShift, reach_of_taps
from mecheval_jax.mixers.softmax_attention import SITES, SoftmaxAttention

OUTPUT_EPSILON = 1e-6
FORGET = "logarithm of the forget gate, which is added to the scores of all earlier tokens"


class ForgettingAttention(SoftmaxAttention):
    """Attention with a forget gate; see `SoftmaxAttention` for the other attributes.

    Attributes:
        norm: Whether queries and keys are normalised.
        gated: Whether there is an output gate.
        shift: Whether keys and values are mixed with those of the token before.
        output_norm: Whether what each head reads is normalised.
    """

    norm: bool = False
    gated: bool = False
    shift: bool = False
    output_norm: bool = False

    SITES = SITES | {"forget": FORGET, "gate": "output gate, before its sigmoid (only with it)"}

    @nn.nowrap
    def local_reach(self) -> dict[str, float]:
        """See `sites.reach_of`."""
        shifted = reach_of_taps(self.canon) + 1
        return super().local_reach() | (dict.fromkeys("kv", shifted) if self.shift else {})

    def setup(self):
        super().setup()
        self.f_proj = self.dense(self.heads, use_bias=True)
        if self.norm:
            self.q_norm, self.k_norm = HeadNorm(shared=False), HeadNorm(shared=False)
        if self.gated:
            self.g_proj = self.dense(self.width)
        if self.output_norm:
            self.o_norm = HeadNorm(OUTPUT_EPSILON, shared=False)
        for name in ("k", "v") if self.shift else ():
            shared = self.key_heads or self.heads
            setattr(self, f"{name}_shift", TokenShift(shared * self.head))
            setattr(self, f"{name}_mix", self.dense(shared))

    def project(
        self, x: Array, positions: Array | None, local: Local
    ) -> tuple[Array, Array, Array]:
        """Queries, and keys and values mixed with those of the token before."""
        q, k, v = super().project(x, positions, local)
        if not self.shift:
            return q, k, v
        if not self.canon:  # else the sites are before the convolution
            k, v = self.k_input(k), self.v_input(v)
        return q, self._mixed("k", k, x, local), self._mixed("v", v, x, local)

    def _mixed(self, name: str, u: Array, x: Array, local: Local) -> Array:
        """A share al of the token before, for each head."""
        (before,) = local(f"{name}_shift", [u])
        share = jax.nn.sigmoid(getattr(self, f"{name}_mix")(x))
        return u + jnp.repeat(share, self.head, axis=-1) * (before - u)

    def prepare(self, q: Array, k: Array, read_index: Array, index: Array) -> tuple[Array, Array]:
        """Normalise both."""
        del read_index, index
        return (self.q_norm(q), self.k_norm(k)) if self.norm else (q, k)

    def fade(self, x: Array) -> Array:
        """Logarithm of the forget gate."""
        return self.forget(jax.nn.log_sigmoid(self.f_proj(x)))

    def out(self, heads: Array, x: Array) -> Array:
        """Output projection of what the heads read, gated by x."""
        heads = self.o_norm(heads) if self.output_norm else heads
        if self.gated:
            heads = heads * jax.nn.sigmoid(self.gate(self.g_proj(x))).reshape(heads.shape)
        return super().out(heads, x)


class ForgettingAttentionPro(ForgettingAttention):
    """FoX (Pro); see `ForgettingAttention` for the attributes."""

    norm: bool = True
    gated: bool = True
    shift: bool = True
    output_norm: bool = True
