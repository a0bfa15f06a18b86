"""Causal softmax attention (Vaswani et al. 2017), over all tokens or a sliding window.

    q, k, v = projections of x,   pattern = softmax(q k^T / sqrt(d_head)),
    y = W_o [pattern v of every head] + b_o

The defaults are those of arXiv 2505.15105: one head, no bias on q, k and v, a bias on the output,
positions learned by the model. Rotary positions (Su et al. 2021) rotate q and k; ALiBi (Press et
al. 2022) subtracts slope * distance from the scores. The rest stands in `mixers.softmax_attention`,
mask and window in `mixers.pattern`.
"""

import flax.linen as nn
import jax.numpy as jnp

from mecheval_jax.array_types import Array
from mecheval_jax.errors import UserError, choose
from mecheval_jax.mixers import initializers
from mecheval_jax.mixers.options import OPTIONS
from mecheval_jax.mixers.softmax_attention import SITES, SoftmaxAttention
from mecheval_jax.ops.precision import wide_type
from mecheval_jax.ops.rotary import alibi_slopes, rotary


class Attention(SoftmaxAttention):
    """Causal self-attention; see `SoftmaxAttention` for the other attributes.

    Attributes:
        bias: Whether q, k and v have biases.
        out_bias: Whether the output projection has a bias.
        encoding: Encoding of positions in the scores: ``none``, ``rotary`` or ``alibi``.
        rotary_share: Share of a head's channels that rotary positions rotate.
        rotary_base: Of n planes plane i, from 0, turns by rotary_base^(-i / n) radians a token.
    """

    bias: bool = False
    out_bias: bool = True
    encoding: str = "none"
    rotary_share: float = 1.0
    rotary_base: float = 10_000.0

    SITES = SITES
    ENCODINGS = ("none", "rotary", "alibi")

    def __post_init__(self):
        choose("encoding", self.encoding, self.ENCODINGS)
        if not 0 < self.rotary_share <= 1:
            raise UserError(f"{OPTIONS}rotary_share is {self.rotary_share}: above 0 and at most 1")
        head = self.width // self.heads
        if self.encoding == "rotary" and int(self.rotary_share * head) < 2:
            enough = int(self.rotary_share * self.width) >= 2  # for one head
            wider = "a greater width" + " or rotary_share" * (head >= 2)
            cause = f"heads is {self.heads}" if enough else f"rotary_share is {self.rotary_share:g}"
            raise UserError(
                f"{OPTIONS}{cause}: of the {head} channels of a head rotary positions turn "
                f"{self.rotary_share:g}, which is no pair of channels; take "
                + ("fewer heads" if enough else wider)
            )
        super().__post_init__()

    def dense(self, features: int, use_bias: bool = False) -> nn.Dense:
        """A dense layer into q, k or v."""
        return super().dense(features, use_bias or self.bias)

    def dense_out(self) -> nn.Dense:
        """The output projection, smaller at the start the more layers there are."""
        scaled = initializers.into_residual(self.layers)
        return nn.Dense(self.width, use_bias=self.out_bias, kernel_init=scaled)

    def prepare(self, q: Array, k: Array, read_index: Array, index: Array) -> tuple[Array, Array]:
        """Rotate both by their positions."""
        if self.encoding != "rotary":
            return q, k
        turned = int(self.rotary_share * self.head)
        q, k = (rotary(h, i, self.rotary_base, turned) for h, i in ((q, read_index), (k, index)))
        return q, k

    def fade(self, x: Array) -> Array | None:
        """ALiBi: each token lowers the scores of all before it by the slope of the head."""
        if self.encoding != "alibi":
            return None
        slopes = -jnp.asarray(alibi_slopes(self.heads), wide_type(x))
        return jnp.broadcast_to(slopes[None, None], (*x.shape[:2], self.heads))


class SlidingWindowAttention(Attention):
    """Attention to the last `window` tokens (Beltagy et al. 2020); see `Attention`."""

    window: int = 64
