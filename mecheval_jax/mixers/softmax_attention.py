"""Base of the mixers that read the past by a softmax over tokens.

    q, k, v = projections of x,   scores = q k^T / sqrt(d_head) + bias,
    pattern = softmax(scores),    y = W_o [pattern v of every head]

Several heads of queries may share one of keys and values (Ainslie et al. 2023). A residual
convolution may stand behind the three projections (Canon-B, Allen-Zhu 2025):
u <- u + conv(u) with u = [q, k, v]. Subclasses define what is done with q and k, further terms
of the scores, and the gate of the output.
"""

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Float, Int
from mecheval_jax.errors import UserError
from mecheval_jax.mixers import canon, initializers, pattern
from mecheval_jax.mixers.options import OPTIONS, divisors_near, require_heads
from mecheval_jax.mixers.projection import together
from mecheval_jax.mixers.short_convolution import (
    Local,
    apply_to_all,
    apply_to_one,
    local_states,
    reach_of_taps,
)
from mecheval_jax.ops.positions import at_positions
from mecheval_jax.sites import declare

SITES = {
    **canon.SITES,
    "q": "queries by head",
    "k": "keys by head",
    "v": "values by head",
    **pattern.SITES,
}


class SoftmaxAttention(nn.Module):
    """Base of the family; a subclass overrides some of the methods without underscore.

    Attributes:
        width: Number of channels of the residual stream.
        layers: Number of layers of the model, which scales the initial output projection.
        heads: Number of heads, a divisor of the width.
        key_heads: Number of heads of keys and values, a divisor of `heads`; 0 for `heads`.
        window: Number of tokens that are visible, the current one included; 0 for all.
        canon: Number of taps of Canon-B; 0 for none.
        canon_bias: Whether that convolution has a bias.
    """

    width: int
    layers: int = 1
    heads: int = 1
    key_heads: int = 0
    window: int = 0
    canon: int = 0
    canon_bias: bool = True

    SITES = SITES
    HEADS_ADD = True

    @nn.nowrap
    def local_reach(self) -> dict[str, float]:
        """See `sites.reach_of`."""
        reach = dict.fromkeys("qkv", reach_of_taps(self.canon))
        return reach | ({"head_output": self.window - 1} if self.window else {})

    def __post_init__(self):
        require_heads(self.width, self.heads)
        if self.heads % (self.key_heads or self.heads):
            raise UserError(
                f"{OPTIONS}key_heads is {self.key_heads}: {self.heads} heads are not divisible by "
                f"it; they are by {divisors_near(self.heads, self.key_heads)}"
            )
        super().__post_init__()

    @property
    def head(self) -> int:
        """Number of channels of a head."""
        return self.width // self.heads

    def setup(self):
        declare(self)
        keys = (self.key_heads or self.heads) * self.head
        self.q_proj, self.k_proj, self.v_proj = map(self.dense, (self.width, keys, keys))
        if self.canon:
            self.qkv_canon = canon.convolution(self, self.width + 2 * keys)
        self.out_proj = self.dense_out()

    # Methods that subclasses override.

    def dense(self, features: int, use_bias: bool = False) -> nn.Dense:
        """A dense layer with the initialisation of the family."""
        return nn.Dense(features, use_bias=use_bias, kernel_init=initializers.dense)

    def dense_out(self) -> nn.Dense:
        """The output projection."""
        return self.dense(self.width)

    def project(
        self, x: Array, positions: Array | None, local: Local
    ) -> tuple[Array, Array, Array]:
        """Queries at `positions`, and keys and values of all tokens, heads concatenated."""
        if not self.canon and positions is not None:
            return self.q_proj(at_positions(x, positions)), *together(x, self.k_proj, self.v_proj)
        parts = together(x, self.q_proj, self.k_proj, self.v_proj)
        q, k, v = canon.convolved(self, parts, local)
        return at_positions(q, positions), k, v

    def prepare(self, q: Array, k: Array, read_index: Array, index: Array) -> tuple[Array, Array]:
        """Queries and keys by head as they are multiplied, from those of the sites."""
        return q, k

    def products(
        self, q: Array, k: Array, x: Array, positions: Array | None, local: Local
    ) -> Array:
        """Products of queries and keys, [batch, heads, length, source], not yet scaled."""
        return jnp.einsum("blhd,bshd->bhls", q, k)

    def carried(self, keys: Array, x: Array, local: Local) -> Array:
        """Keys of earlier tokens as this one sees them; x is the token, [batch, 1, width]."""
        return keys

    def fade(self, x: Array) -> Array | None:
        """What each token adds to the scores of all before it, [batch, length, heads]."""

    def out(self, heads: Array, x: Array) -> Array:
        """Output of the mixer, from what the heads read at the tokens x."""
        return self.out_proj(heads.reshape(*x.shape[:2], self.width))

    # What all share.

    def _heads(
        self, x: Array, positions: Array | None, index: tuple[Array, Array], local: Local
    ) -> tuple[Array, Array, Array]:
        """q, k and v, [batch, length, heads, d_head]; `index` is where q and k stand."""
        q, k, v = self.project(x, positions, local)
        q, k, v = (h.reshape(*h.shape[:2], -1, self.head) for h in (q, k, v))
        q, k, v = self.q(q), self.k(k), self.v(v)
        return *self.prepare(q, k, *index), v

    def _read(self, products: Array, bias: Array | None, v: Array, distance: Array) -> Array:
        """What heads read of values `distance` [batch, length, source] tokens back."""
        scores = products * self.head**-0.5
        scores = scores if bias is None else scores + bias.astype(scores.dtype)
        return pattern.read_values(self, scores, v, distance, self.window)

    def __call__(
        self,
        x: Float[Array, "batch length width"],
        positions: Int[Array, "batch queries"] | None = None,
    ) -> Float[Array, "batch positions width"]:
        """Mix all tokens at once; return the outputs at `positions`, or all if it is None."""
        local = apply_to_all(self)
        index = jnp.broadcast_to(jnp.arange(x.shape[1]), x.shape[:2])
        read_index = at_positions(index, positions)
        q, k, v = self._heads(x, positions, (read_index, index), local)
        products = self.products(q, pattern.repeated(k, self.heads), x, positions, local)
        fade = self.fade(x)
        bias = None if fade is None else pattern.summed_decays(fade, positions)
        heads = self._read(products, bias, v, read_index[..., None] - index[:, None, :])
        return self.out(heads, at_positions(x, positions))

    def initial_state(self, batch: int, max_length: int) -> dict[str, Array]:
        """Empty cache of keys and values, and the number of tokens read.

        After `max_length` tokens `step` overwrites the oldest.
        """
        size = min(self.window, max_length) if self.window else max_length
        cache = jnp.zeros((batch, size, self.key_heads or self.heads, self.head))
        state = {"keys": cache, "values": cache, "position": jnp.zeros((), jnp.int32)}
        if self.fade(jnp.zeros((batch, 1, self.width))) is not None:
            state["bias"] = jnp.zeros((batch, size, self.heads))
        return state | local_states(self, batch)

    def step(
        self, state: dict[str, Array], x_t: Float[Array, "batch width"]
    ) -> tuple[dict[str, Array], Float[Array, "batch width"]]:
        """Mix one token; return the next state and the output."""
        new, x, position, bias = dict(state), x_t[:, None], state["position"], None
        local, index = apply_to_one(self, new), jnp.broadcast_to(position, (len(x_t), 1))
        q, k, v = self._heads(x, None, (index, index), local)
        chex.assert_equal_shape_suffix([k, state["keys"]], 2)
        size = state["keys"].shape[1]
        slot = position % size  # a window's cache is a ring
        new["keys"], new["values"] = (
            jax.lax.dynamic_update_slice_in_dim(old, h.astype(old.dtype), slot, axis=1)
            for old, h in ((self.carried(state["keys"], x, local), k), (state["values"], v))
        )
        age = (slot - jnp.arange(size)) % size
        distance = jnp.where(age <= position, age, -1)  # an empty slot is not visible
        if (fade := self.fade(x)) is not None:
            older = (distance != 0)[None, :, None]
            new["bias"] = jnp.where(older, state["bias"] + fade.astype(state["bias"].dtype), 0)
            bias = jnp.moveaxis(new["bias"], 2, 1)[:, :, None]
        products = jnp.einsum("blhd,bshd->bhls", q, pattern.repeated(new["keys"], self.heads))
        distance = jnp.broadcast_to(distance, (len(x_t), 1, size))
        new["position"] = position + 1
        return new, self.out(self._read(products, bias, new["values"], distance), x)[:, 0]
