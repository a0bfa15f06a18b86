"""Mamba (Gu and Dao 2023).

u, z = halves of W_in x
u = silu(conv(u));   dt_r, B, C = W_x u;   dt = softplus(W_dt dt_r + b_dt)
y = selective_scan(u, dt, A, B, C) + D u,   A = -exp(A_log)
out = W_out (y silu(z))
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Float, Int
from mecheval_jax.mixers import initializers
from mecheval_jax.mixers.base_conv import ShortConvolution
from mecheval_jax.ops.positions import at_positions
from mecheval_jax.ops.selective_scan import selective_scan, selective_scan_step


class Mamba(nn.Module):
    """A selective state space model.

    Attributes:
        width: channels of the residual stream.
        layers: depth of the model, which scales the output projection at initialisation.
        d_state: size of the state per inner channel.
        d_conv: taps of the short convolution; 0 for none (its silu stays).
        expand: inner channels per channel of the residual stream.
        bias: whether the input and output projections have biases.
        scan_backend: backend of `ops.selective_scan`.
    """

    width: int
    layers: int = 1
    d_state: int = 16
    d_conv: int = 4
    expand: int = 2
    bias: bool = False
    scan_backend: str = "auto"

    def setup(self):
        inner, rank = self.expand * self.width, math.ceil(self.width / 16)

        def dense(features, use_bias=self.bias, init=initializers.uniform_fan_in):
            return nn.Dense(features, use_bias=use_bias, kernel_init=init)

        self.in_proj = dense(2 * inner)
        if self.d_conv:
            self.conv = ShortConvolution(inner, self.d_conv)
        self.x_proj = dense(rank + 2 * self.d_state, use_bias=False)
        self.dt_proj = nn.Dense(
            inner,
            kernel_init=initializers.uniform_fan_in,
            bias_init=initializers.time_step_bias(),
        )
        self.A_log = self.param("A_log", initializers.log_integers, (inner, self.d_state))
        self.D = self.param("D", nn.initializers.ones, (inner,))
        self.out_proj = dense(self.width, init=initializers.mamba_out_projection(self.layers))

    def _select(self, u):
        """The input-dependent dt, A, B and C."""
        rank = math.ceil(self.width / 16)
        dt, B, C = jnp.split(self.x_proj(u), (rank, rank + self.d_state), axis=-1)
        return jax.nn.softplus(self.dt_proj(dt)), -jnp.exp(self.A_log), B, C

    def __call__(
        self,
        x: Float[Array, "batch length width"],
        positions: Int[Array, "batch queries"] | None = None,
    ) -> Float[Array, "batch positions width"]:
        """Mix all tokens at once; the outputs at `positions`, or everywhere."""
        u, z = jnp.split(self.in_proj(x), 2, axis=-1)
        u = jax.nn.silu(self.conv(u) if self.d_conv else u)
        y = selective_scan(u, *self._select(u), backend=self.scan_backend)
        y = y + self.D[None, None] * u
        return self.out_proj(at_positions(y, positions) * jax.nn.silu(at_positions(z, positions)))

    def initial_state(self, batch: int, max_length: int) -> dict[str, Array]:
        """Empty state; its size does not depend on `max_length`."""
        del max_length
        state = {"ssm": jnp.zeros((batch, self.d_state, self.expand * self.width))}
        return state | ({"conv": self.conv.initial_state(batch)} if self.d_conv else {})

    def step(
        self, state: dict[str, Array], x_t: Float[Array, "batch width"]
    ) -> tuple[dict[str, Array], Float[Array, "batch width"]]:
        """Mix one token: the next state and its output."""
        u, z = jnp.split(self.in_proj(x_t), 2, axis=-1)
        new = dict(state)
        if self.d_conv:
            new["conv"], u = self.conv.step(state["conv"], u)
        u = jax.nn.silu(u)
        new["ssm"], y = selective_scan_step(state["ssm"], u, *self._select(u))
        return new, self.out_proj((y + self.D[None] * u) * jax.nn.silu(z))
