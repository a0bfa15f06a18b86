"""Gated attention (Qiu et al. 2025), as Qwen3-Next has it.

    q, g = halves of W_q x in each head;   q, k <- RMSNorm of each head, times 1 + scale
    y = W_o (o * sigmoid(g)),   o what the heads of softmax attention read

Rotary positions turn the first quarter of the channels of each head. By default no layer has
a bias.
"""

import flax.linen as nn
import jax

from mecheval_jax.array_types import Array
from mecheval_jax.mixers import initializers
from mecheval_jax.mixers.attention import Attention
from mecheval_jax.mixers.norms import HeadNorm
from mecheval_jax.mixers.softmax_attention import SITES


class GatedAttention(Attention):
    """Attention with an output gate; see `Attention` for the other attributes.

    Attributes:
        bias: Whether q, k, v and the gate have biases.
        epsilon: Epsilon of the norms of queries and keys.
    """

    out_bias: bool = False
    encoding: str = "rotary"
    rotary_share: float = 0.25
    epsilon: float = 1e-6

    SITES = SITES | {"gate": "output gate, before its sigmoid"}

    def setup(self):
        super().setup()
        self.g_proj = self.dense(self.width)
        self.q_norm, self.k_norm = (HeadNorm(self.epsilon, offset=1.0) for _ in "qk")

    def dense_out(self) -> nn.Dense:
        """The output projection; `dense` would give it a bias wherever q, k and v have one."""
        dense = initializers.dense
        return nn.Dense(self.width, use_bias=self.out_bias, kernel_init=dense)

    def prepare(self, q: Array, k: Array, read_index: Array, index: Array) -> tuple[Array, Array]:
        """Normalise both, and rotate them by their positions."""
        return super().prepare(self.q_norm(q), self.k_norm(k), read_index, index)

    def out(self, heads: Array, x: Array) -> Array:
        """Output projection of what the heads read, gated by x."""
        gate = jax.nn.sigmoid(self.gate(self.g_proj(x)))
        return super().out(heads * gate.reshape(heads.shape), x)
