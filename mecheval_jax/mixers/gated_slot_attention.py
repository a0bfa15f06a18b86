"""Gated slot attention (Zhang et al. 2024).

    q, k, v = silu of projections of x;   f = sigmoid(W_f x)^(1/8)   (a forget gate for each slot)
    S <- diag(f) S + (1 - f) [k, v]^T,   S = [K, V] with a row for each slot
    o = V^T softmax(K q);   y = W_o RMSNorm(silu(o))                 (the norm over all channels)

The softmax is over the slots, whose number is fixed: a token chooses which of them to read.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Float, Int
from mecheval_jax.errors import choose
from mecheval_jax.mixers import initializers
from mecheval_jax.mixers.options import require_heads
from mecheval_jax.mixers.recurrence import STATE_SITES, Recurrence, recurrence
from mecheval_jax.ops.dplr import BACKENDS, Update, dplr
from mecheval_jax.ops.positions import at_positions, from_positions
from mecheval_jax.ops.precision import exp_wide
from mecheval_jax.ops.slots import slot_scores
from mecheval_jax.sites import declare

EPSILON = 1e-5
ROOT = 8
"""Degree of the root that moves the forget gates towards 1."""


class GatedSlotAttention(nn.Module):
    """Attention to a fixed number of slots.

    Attributes:
        width: Number of channels of the residual stream.
        heads: Number of heads, a divisor of the width.
        slots: Number of slots of each head.
        backend: Backend of `ops.slots` and `ops.dplr`.
    """

    width: int
    heads: int = 1
    slots: int = 64
    backend: str = "auto"

    SITES = {
        "q": "queries by head",
        "k": "keys by head",
        "v": "values by head",
        "decay": "forget gate of each slot, " + STATE_SITES["decay"],
        "write": STATE_SITES["write"] + ": 1 - f times [k, v]",
        "state": STATE_SITES["state"] + ": keys and values of the slots",
        "pattern_of_slots": "attention weights of the slots",
        "head_output": "output of each head, before its silu",
    }

    @nn.nowrap
    def local_reach(self) -> dict[str, float]:
        """See `sites.reach_of`."""
        return {}

    def __post_init__(self):
        require_heads(self.width, self.heads)
        choose("backend", self.backend, BACKENDS)
        super().__post_init__()

    def setup(self):
        declare(self)

        def dense(features: int) -> nn.Dense:
            return nn.Dense(features, use_bias=False, kernel_init=initializers.dense)

        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (dense(self.width) for _ in range(4))
        self.f_proj = dense(self.heads * self.slots)
        self.o_norm = nn.RMSNorm(epsilon=EPSILON, use_fast_variance=False)

    def _project(self, x: Array) -> tuple[Array, Array, Array]:
        """q, [k, v] and the logarithm of the forget gate, by head."""
        q, k, v, f = (
            getattr(self, f"{name}_proj")(x).reshape(*x.shape[:-1], self.heads, -1)
            for name in "qkvf"
        )
        q, k, v = self.q(jax.nn.silu(q)), self.k(jax.nn.silu(k)), self.v(jax.nn.silu(v))
        return q, jnp.concatenate([k, v], axis=-1), jax.nn.log_sigmoid(f) / ROOT

    def _change(self, kv: Array, log_decay: Array) -> tuple[Array, Array]:
        """Decays and writes of the state, [..., heads, slots, key + value]."""
        written = -jnp.expm1(log_decay)
        return exp_wide(log_decay)[..., None], written[..., None] * kv[..., None, :]

    def _read(self, states: Array, q: Array) -> Array:
        """What the heads read of states [..., heads, slots, key + value]."""
        keys, values = jnp.split(states.astype(q.dtype), 2, axis=-1)
        weights = jax.nn.softmax(jnp.einsum("...mk,...k->...m", keys, q), axis=-1)
        return jnp.einsum("...mv,...m->...v", values, self.pattern_of_slots(weights))

    def _out(self, heads: Array) -> Array:
        heads = jax.nn.silu(self.head_output(heads))
        return self.o_proj(self.o_norm(heads.reshape(*heads.shape[:-2], -1)))

    def __call__(
        self,
        x: Float[Array, "batch length width"],
        positions: Int[Array, "batch queries"] | None = None,
    ) -> Float[Array, "batch positions width"]:
        """Mix all tokens at once; return the outputs at `positions`, or all if it is None."""
        q, kv, log_decay = self._project(x)

        def read(states: Array) -> Array:
            return self._read(at_positions(states, positions), at_positions(q, positions))

        form = Recurrence(
            fast=lambda: self._without_states(q, kv, log_decay, positions),
            decay=lambda: self._change(kv, log_decay)[0],
            write=lambda: self._change(kv, log_decay)[1],
            read=read,
        )
        return self._out(recurrence(self, form, self.backend))

    def _without_states(
        self, q: Array, kv: Array, log_decay: Array, positions: Array | None
    ) -> Array:
        """What `_read` gives: scores of the slots by their keys, then linear attention to them."""
        (keys, values), share = jnp.split(kv, 2, axis=-1), -jnp.expm1(log_decay)
        scores = slot_scores(q, keys, share, log_decay, self.backend)
        weights = jax.nn.softmax(at_positions(scores, positions), axis=-1)
        weights = from_positions(self.pattern_of_slots(weights), positions, q.shape[1])
        update = Update(share, values, log_decay)
        return dplr(weights, update, self.backend, positions=positions)

    def initial_state(self, batch: int, max_length: int) -> Float[Array, "batch heads slots kv"]:
        """Empty slots, whose size does not depend on `max_length`."""
        del max_length
        return jnp.zeros((batch, self.heads, self.slots, 2 * self.width // self.heads))

    def step(
        self, state: Float[Array, "batch heads slots kv"], x_t: Float[Array, "batch width"]
    ) -> tuple[Float[Array, "batch heads slots kv"], Float[Array, "batch width"]]:
        """Mix one token; return the next state and the output."""
        q, kv, log_decay = self._project(x_t)
        decay, write = self._change(kv, log_decay)
        state = decay * state + write
        return state, self._out(self._read(state, q))
