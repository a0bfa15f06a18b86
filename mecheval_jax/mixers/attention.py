"""Causal softmax attention (Vaswani et al. 2017), over all tokens or a sliding window.

    q, k, v = thirds of W x (+ b),   pattern = softmax(q k^T / sqrt(d_head)),
    y = W_o [pattern v of every head] + b_o

The defaults are those of arXiv 2505.15105: one head, no bias on q, k and v, a bias on the output,
positions learned by the model. Rotary positions (Su et al. 2021) rotate q and k; ALiBi (Press et
al. 2022) subtracts slope * distance from the scores. Several heads of queries may share one of
keys and values (Ainslie et al. 2023).
"""

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Float, Int
from mecheval_jax.errors import UserError, choose
from mecheval_jax.mixers import initializers
from mecheval_jax.ops.positions import at_positions
from mecheval_jax.ops.rotary import alibi_slopes, rotary
from mecheval_jax.sites import declare

MASKED = -1e4
"""Score of a masked pair. The reference adds -10000; exp of either is 0 in float32."""
ENCODINGS = ("none", "rotary", "alibi")


class Attention(nn.Module):
    """Causal self-attention.

    Attributes:
        width: Number of channels of the residual stream.
        layers: Number of layers of the model, which scales the initial output projection.
        heads: Number of heads, a divisor of the width.
        key_heads: Number of heads of keys and values, a divisor of `heads`; 0 for `heads`.
        bias: Whether q, k and v have biases.
        out_bias: Whether the output projection has a bias.
        window: Number of tokens that are visible, the current one included; 0 for all.
        encoding: Encoding of positions in the scores: ``none``, ``rotary`` or ``alibi``.
        rotary_share: Share of a head's channels that rotary positions rotate.
        rotary_base: Number of tokens, about, in which the slowest plane turns by 1 radian.
    """

    width: int
    layers: int = 1
    heads: int = 1
    key_heads: int = 0
    bias: bool = False
    out_bias: bool = True
    window: int = 0
    encoding: str = "none"
    rotary_share: float = 1.0
    rotary_base: float = 10_000.0

    SITES = {
        "q": "queries by head",
        "k": "keys by head",
        "v": "values by head",
        "scores": "scores [batch, length, heads, source] before masking",
        "pattern": "attention weights [batch, length, heads, source]",
        "head_output": "output of each head, before the output projection",
    }

    @nn.nowrap
    def local_reach(self) -> dict[str, float]:
        """See `sites.reach_of`."""
        return {"head_output": self.window - 1} if self.window else {}

    def __post_init__(self):
        if self.width % self.heads:
            raise UserError(f"width {self.width} is not divisible by {self.heads} heads")
        if self.heads % (self.key_heads or self.heads):
            raise UserError(f"{self.heads} heads are not divisible by key_heads {self.key_heads}")
        choose("encoding", self.encoding, ENCODINGS)
        if not 0 < self.rotary_share <= 1:
            raise UserError(f"rotary_share is {self.rotary_share}: above 0 and at most 1")
        super().__post_init__()

    def setup(self):
        declare(self)
        shared = self.width // self.heads * (self.key_heads or self.heads)
        self.q_proj, self.k_proj, self.v_proj = (
            nn.Dense(size, use_bias=self.bias, kernel_init=initializers.dense)
            for size in (self.width, shared, shared)
        )
        self.out_proj = nn.Dense(
            self.width,
            use_bias=self.out_bias,
            kernel_init=initializers.into_residual(self.layers),
        )

    def _project(
        self, read: Array, x: Array, read_index: Array, index: Array
    ) -> tuple[Array, Array, Array]:
        """Queries of `read`, keys and values of `x`, each [batch, length, heads, d_head].

        `read_index` and `index` are the positions of the two in the sequence.
        """
        head = self.width // self.heads
        projections = (self.q_proj(read), self.k_proj(x), self.v_proj(x))
        q, k, v = (p.reshape(*p.shape[:2], -1, head) for p in projections)
        q, k, v = self.q(q), self.k(k), self.v(v)
        if self.encoding == "rotary":
            turned = int(self.rotary_share * head)
            q, k = (
                rotary(h, i, self.rotary_base, turned) for h, i in ((q, read_index), (k, index))
            )
        return q, k, v

    def _read(self, q: Array, k: Array, v: Array, distance: Array) -> Array:
        """Output of attention to keys and values `distance` [batch, length, source] tokens back."""
        k, v = (jnp.repeat(h, self.heads // h.shape[2], axis=2) for h in (k, v))
        scores = jnp.einsum("blhd,bshd->bhls", q, k) * q.shape[-1] ** -0.5
        if self.encoding == "alibi":
            slopes = jnp.asarray(alibi_slopes(self.heads), scores.dtype)
            scores = scores - slopes[None, :, None, None] * distance[:, None].astype(scores.dtype)
        scores = _rows(self.scores(_rows(scores)))
        visible = distance >= 0
        if self.window:
            visible &= distance < self.window
        visible = visible[:, None]
        if self.scores.replaced():  # a score of minus infinity cuts an edge
            visible &= scores > -jnp.inf
        pattern = jax.nn.softmax(jnp.where(visible, scores, MASKED), axis=-1)
        if self.scores.replaced():  # a token whose edges are all cut reads nothing
            pattern = jnp.where(visible, pattern, 0)
        pattern = _rows(self.pattern(_rows(pattern)))
        heads = self.head_output(jnp.einsum("bhls,bshd->blhd", pattern, v))
        return self.out_proj(heads.reshape(*q.shape[:2], self.width))

    def __call__(
        self,
        x: Float[Array, "batch length width"],
        positions: Int[Array, "batch queries"] | None = None,
    ) -> Float[Array, "batch positions width"]:
        """Mix all tokens at once; return the outputs at `positions`, or all if it is None."""
        index = jnp.broadcast_to(jnp.arange(x.shape[1]), x.shape[:2])
        read_index = at_positions(index, positions)
        q, k, v = self._project(at_positions(x, positions), x, read_index, index)
        return self._read(q, k, v, read_index[..., None] - index[:, None, :])

    def initial_state(self, batch: int, max_length: int) -> dict[str, Array]:
        """Empty cache of keys and values, and the number of tokens read.

        After `max_length` tokens `step` overwrites the oldest.
        """
        size = min(self.window, max_length) if self.window else max_length
        heads = self.key_heads or self.heads
        cache = jnp.zeros((batch, size, heads, self.width // self.heads))
        return {"keys": cache, "values": cache, "position": jnp.zeros((), jnp.int32)}

    def step(
        self, state: dict[str, Array], x_t: Float[Array, "batch width"]
    ) -> tuple[dict[str, Array], Float[Array, "batch width"]]:
        """Mix one token; return the next state and the output."""
        position, size = state["position"], state["keys"].shape[1]
        index = jnp.broadcast_to(position, (len(x_t), 1))
        q, k, v = self._project(x_t[:, None], x_t[:, None], index, index)
        chex.assert_equal_shape_suffix([k, state["keys"]], 2)
        slot = position % size  # a window's cache is a ring
        keys, values = (
            jax.lax.dynamic_update_slice_in_dim(old, new.astype(old.dtype), slot, axis=1)
            for old, new in ((state["keys"], k), (state["values"], v))
        )
        age = (slot - jnp.arange(size)) % size
        distance = jnp.where(age <= position, age, -1)  # an empty slot is not visible
        y = self._read(q, keys, values, jnp.broadcast_to(distance, (len(x_t), 1, size)))
        return {"keys": keys, "values": values, "position": position + 1}, y[:, 0]


class SlidingWindowAttention(Attention):
    """Attention to the last `window` tokens (Beltagy et al. 2020); see `Attention`."""

    window: int = 64


def _rows(scores: Array) -> Array:
    """Swap [batch, heads, length, source] and [batch, length, heads, source], as sites have it."""
    return jnp.swapaxes(scores, 1, 2)
