"""Log-linear Mamba-2 (Guo et al. 2025): a state for every power of 2 of the past.

    z, xBC, dt, l = parts of W_in x + b;   x, B, C = silu(conv(xBC));   dt = softplus(dt + dt_bias)
    a = exp(-exp(A_log) dt);   weight[level] = softplus(L[level] l[level])   in each head
    y = sum_level weight[level] S[level]^T C + D x,   S the sums of B (dt x)^T that decay by a
    out = W_out RMSNorm(y silu(z)) + b

A token s is found by t on the level of the highest binary digit in which the two differ, counted
from 1, and by itself on level 0: the farther away, the more tokens share a level. See
`ops.log_linear_attention`.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Float, Int, PyTree
from mecheval_jax.errors import UserError
from mecheval_jax.mixers import initializers
from mecheval_jax.mixers.mamba import INNER_SITES
from mecheval_jax.mixers.mamba2 import with_skip
from mecheval_jax.mixers.options import require_inner_heads
from mecheval_jax.mixers.short_convolution import ShortConvolution, reach_of_taps
from mecheval_jax.ops.log_linear_attention import (
    advance_levels,
    log_linear_attention,
    log_linear_states,
    read_levels,
)
from mecheval_jax.ops.positions import at_positions
from mecheval_jax.ops.precision import beside
from mecheval_jax.sites import declare

EPSILON = 1e-5
ABSENT = ("decay", "in_projection")


class LogLinearMamba2(nn.Module):
    """Mamba-2 whose state grows with the logarithm of the length.

    Attributes:
        width: Number of channels of the residual stream.
        max_length: Length limit of the model, in tokens.
        d_state: Size of the state per channel and level.
        d_conv: Number of taps of the short convolution; 0 for none (its silu remains).
        expand: Number of inner channels per channel of the residual stream.
        head_dim: Number of channels of a head.
        levels: Number of levels, enough for 2^(levels - 1) tokens.
    """

    width: int
    max_length: int = 1024
    d_state: int = 128
    d_conv: int = 4
    expand: int = 2
    head_dim: int = 64
    levels: int = 15

    CUT = False
    SITES = {name: INNER_SITES[name] for name in INNER_SITES if name not in ABSENT} | {
        "weights": "weights of the levels, after their softplus",
        "state": "states of all levels after this token; later tokens continue from replaced ones",
    }

    WITHOUT_DECAY = ("dt_bias", "A_log", "L", "D")

    @nn.nowrap
    def local_reach(self) -> dict[str, float]:
        """See `sites.reach_of`."""
        return {"conv_output": reach_of_taps(self.d_conv)}

    def __post_init__(self):
        require_inner_heads("log_linear_mamba2", self.expand * self.width, self.head_dim)
        if self.max_length > 2 ** (self.levels - 1):
            raise UserError(
                f"log_linear_mamba2: {self.levels} levels reach {2 ** (self.levels - 1)} tokens, "
                f"but the model's max_length is {self.max_length}"
            )
        super().__post_init__()

    inner = property(lambda self: self.expand * self.width)
    heads = property(lambda self: self.inner // self.head_dim)

    def setup(self):
        declare(self)
        mixed = self.inner + 2 * self.d_state
        outputs = self.inner + mixed + self.heads * (1 + self.levels)
        self.in_proj = nn.Dense(outputs, kernel_init=initializers.dense)
        self.conv = ShortConvolution(mixed, self.d_conv, use_bias=False)
        self.dt_bias = self.param("dt_bias", initializers.time_step_bias, (self.heads,))
        self.A_log = self.param("A_log", initializers.log_integers, (self.heads,))
        ones = nn.initializers.ones
        self.D = self.param("D", ones, (self.heads,))
        self.L = self.param("L", ones, (self.heads, self.levels))
        self.norm = nn.RMSNorm(epsilon=EPSILON, use_fast_variance=False)
        self.out_proj = nn.Dense(self.width, kernel_init=initializers.dense)

    def _parts(self, x: Array) -> tuple[Array, Array, Array]:
        """The gate z, the input of the convolution, and dt and l."""
        joint = self.in_proj(x)
        z, mixed, steps = jnp.split(joint, (self.inner, 2 * self.inner + 2 * self.d_state), axis=-1)
        return self.gate(z), self.conv_input(mixed), steps

    def _select(self, mixed: Array, steps: Array) -> tuple[Array, tuple[Array, ...]]:
        """Input x by head, and q, k, v, log_decay and weights of the recurrence."""
        axes = mixed.shape[:-1]
        mixed = self.activation(jax.nn.silu(mixed))
        x, B, C = jnp.split(mixed, (self.inner, self.inner + self.d_state), axis=-1)
        x = self.x(x.reshape(*axes, self.heads, self.head_dim))
        dt, levels = jnp.split(steps, (self.heads,), axis=-1)
        dt = self.dt(jax.nn.softplus(dt + beside(self.dt_bias, dt)))
        levels = levels.reshape(*axes, self.heads, self.levels)
        weights = self.weights(jax.nn.softplus(beside(self.L, levels) * levels))
        k, q = (
            jnp.broadcast_to(h[..., None, :], (*axes, self.heads, self.d_state))
            for h in (self.B(B), self.C(C))
        )
        return x, (q, k, dt[..., None] * x, -beside(jnp.exp(self.A_log), dt) * dt, weights)

    def _out(self, y: Array, x: Array, z: Array) -> Array:
        """Output projection of the norm of y and the skip, gated by z."""
        y = self.ssm_output(with_skip(y, self.D, x))
        y = self.norm(y.reshape(z.shape) * jax.nn.silu(z))
        return self.out_projection(self.out_proj(y))

    def __call__(
        self,
        x: Float[Array, "batch length width"],
        positions: Int[Array, "batch queries"] | None = None,
    ) -> Float[Array, "batch positions width"]:
        """Mix all tokens at once; return the outputs at `positions`, or all if it is None."""
        z, mixed, steps = self._parts(x)
        mixed = self.conv_output(self.conv(mixed))
        x, (q, k, v, log_decay, weights) = self._select(mixed, steps)
        y = log_linear_attention(q, k, v, log_decay, weights)
        if self.write.in_use() or self.state.in_use():
            write = self.write(k[..., None] * v[..., None, :])
            states_of = functools.partial(log_linear_states, levels=self.levels)
            entry = self.state.checked_entry(jax.eval_shape(states_of, write, log_decay))
            states = self.state(states_of(write, log_decay, entry=entry), rewritten=True)
            if self.write.replaced() or self.state.replaced():
                y = read_levels(states, q, weights)
        return self._out(*(at_positions(h, positions) for h in (y, x, z)))

    def initial_state(self, batch: int, max_length: int) -> dict[str, PyTree]:
        """Empty states of all levels that `max_length` tokens reach."""
        levels = max(max_length - 1, 0).bit_length() + 1
        state = jnp.zeros((batch, self.heads, levels, self.d_state, self.head_dim))
        position = jnp.zeros((), jnp.int32)
        return {"ssm": state, "position": position, "conv": self.conv.initial_state(batch)}

    def step(
        self, state: dict[str, PyTree], x_t: Float[Array, "batch width"]
    ) -> tuple[dict[str, PyTree], Float[Array, "batch width"]]:
        """Mix one token; return the next state and the output."""
        z, mixed, steps = self._parts(x_t)
        window, mixed = self.conv.step(state["conv"], mixed)
        x, (q, k, v, log_decay, weights) = self._select(mixed, steps)
        write = k[..., None] * v[..., None, :]
        ssm = advance_levels(state["ssm"], write, log_decay, state["position"])
        new = {"ssm": ssm, "position": state["position"] + 1, "conv": window}
        return new, self._out(read_levels(ssm, q, weights), x, z)
