"""Mamba-2 (Dao and Gu 2024).

    z, x, B, C, dt = parts of W_in x;   x, B, C = silu(conv(x, B, C))
    dt = softplus(dt + dt_bias) per head;   a = exp(-exp(A_log) dt)
    S <- a S + B (dt x)^T;   y = S^T C + D x
    out = W_out (RMSNorm(y silu(z)))

The norm is over each group of channels; the heads of a group share B and C. The recurrence is
`ops.dplr` with q = C, k = B and u = dt x.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Float, Int
from mecheval_jax.errors import choose
from mecheval_jax.mesh_axes import MODEL
from mecheval_jax.mixers import initializers
from mecheval_jax.mixers.mamba import INNER_SITES
from mecheval_jax.mixers.options import require_inner_heads
from mecheval_jax.mixers.projection import Projection, apart
from mecheval_jax.mixers.recurrence import dplr_recurrence, passed_decay
from mecheval_jax.mixers.short_convolution import ShortConvolution, reach_of_taps
from mecheval_jax.ops.dplr import BACKENDS, Update, dplr_step
from mecheval_jax.ops.positions import at_positions
from mecheval_jax.ops.precision import beside
from mecheval_jax.sites import declare


def with_skip(
    y: Float[Array, "*axes heads head_dim"],
    D: Float[Array, " heads"],
    x: Float[Array, "*axes heads head_dim"],
) -> Float[Array, "*axes heads head_dim"]:
    """What was read from the states plus D x, with a factor D of each head."""
    return y + beside(D[:, None], x) * x


class Mamba2(nn.Module):
    """A state space model with one decay per head, computed by matrix products.

    Attributes:
        width: Number of channels of the residual stream.
        layers: Number of layers of the model, which scales the initial output projection.
        d_state: Size of the state per channel.
        d_conv: Number of taps of the short convolution; 0 for none (its silu remains).
        expand: Number of inner channels per channel of the residual stream.
        head_dim: Number of channels of a head.
        groups: Number of groups of heads that share B and C.
        bias: Whether the input and output projections have biases.
        conv_bias: Whether the short convolution has a bias.
        gated: Whether the gate z is there.
        epsilon: Epsilon of the norm before the output projection.
        backend: Backend of `ops.dplr`.
    """

    width: int
    layers: int = 1
    d_state: int = 128
    d_conv: int = 4
    expand: int = 2
    head_dim: int = 64
    groups: int = 1
    bias: bool = False
    conv_bias: bool = True
    gated: bool = True
    epsilon: float = 1e-5
    backend: str = "auto"

    SITES = INNER_SITES
    WITHOUT_DECAY = ("A_log", "D", "dt_bias")

    @nn.nowrap
    def local_reach(self) -> dict[str, float]:
        """See `sites.reach_of`."""
        return {"conv_output": reach_of_taps(self.d_conv)}

    def __post_init__(self):
        require_inner_heads("mamba2", self.expand * self.width, self.head_dim, self.groups)
        choose("backend", self.backend, BACKENDS)
        super().__post_init__()

    @property
    def inner(self) -> int:
        """Number of channels inside the mixer."""
        return self.expand * self.width

    @property
    def heads(self) -> int:
        """Number of heads."""
        return self.inner // self.head_dim

    def setup(self):
        declare(self)
        state = self.groups * self.d_state
        mixed = self.inner + 2 * state
        gate, shared = (self.inner,) * self.gated, (self.gated + 1, self.gated + 2)
        sizes = (*gate, self.inner, state, state, self.heads)  # z, x, B, C, dt
        self.in_proj = Projection(
            self.width, sizes, self.bias, initializers.uniform_fan_in, shared=shared
        )
        self.conv = ShortConvolution(mixed, self.d_conv, self.conv_bias)
        self.dt_bias = self.param("dt_bias", initializers.time_step_bias, (self.heads,))
        self.A_log = self.param("A_log", initializers.log_uniform_rates(1, 16), (self.heads,))
        self.D = self.param("D", nn.initializers.ones, (self.heads,))
        self.norm = nn.RMSNorm(epsilon=self.epsilon, use_scale=False)  # over each group
        self.norm_scale = self.param("norm_scale", nn.initializers.ones, (self.inner,))
        into_residual = initializers.mamba_out_projection(self.layers)
        self.out_proj = nn.Dense(self.width, use_bias=self.bias, kernel_init=into_residual)

    def _parts(self, x: Array) -> tuple[list[Array], Array, Array]:
        """The gate z, if there is one, the input (x, B, C) of the convolution, and dt."""
        projected = self.in_projection(self.in_proj(x))
        ends = (self.inner * self.gated, projected.shape[-1] - self.heads)
        z, mixed, dt = jnp.split(projected, ends, axis=-1)
        return [self.gate(z)] if self.gated else [], self.conv_input(mixed), dt

    def _activated(self, mixed: Array) -> list[Array]:
        """x, B and C from the output of the convolution."""
        ends = (self.inner, self.inner + self.groups * self.d_state)
        return jnp.split(self.activation(jax.nn.silu(mixed)), ends, axis=-1)

    def _convolved(self, x: Array) -> tuple[list[Array], tuple[Array, ...]]:
        """The gate z, if there is one; and dt, x, B and C of all tokens."""
        joint = (self.in_projection, self.conv_input, self.conv_output, self.activation)
        if apart(self.heads, *joint):
            *z, u, B, C, dt = self.in_proj.parts(x)
            mixed = self.conv.parts([u, B, C], (MODEL, None, None))
            return [self.gate(h) for h in z], (dt, *map(jax.nn.silu, mixed))
        z, mixed, dt = self._parts(x)
        return z, (dt, *self._activated(self.conv_output(self.conv(mixed))))

    def _select(self, dt: Array, x: Array, B: Array, C: Array) -> tuple[Array, Array, Update]:
        """x, q, and what the tokens do to the state, the decays before their site."""
        dt = self.dt(jax.nn.softplus(dt + beside(self.dt_bias, dt)))
        axes = x.shape[:-1]
        x = self.x(x.reshape(*axes, self.heads, self.head_dim))
        B, C = self.B(B.reshape(*axes, self.groups, -1)), self.C(C.reshape(*axes, self.groups, -1))
        k, q = (jnp.repeat(h, self.heads // self.groups, axis=-2) for h in (B, C))
        rates = -beside(jnp.exp(self.A_log), dt)
        return x, q, Update(k, dt[..., None] * x, (rates * dt)[..., None])

    def _out(self, y: Array, *z: Array) -> Array:
        """Output projection of the norm of y, gated by z if there is a gate."""
        axes = y.shape[:-2]
        y = y.reshape(*axes, self.inner)
        for gate in z:
            y = y * jax.nn.silu(gate)
        y = self.norm(y.reshape(*axes, self.groups, -1)).reshape(*axes, self.inner)
        return self.out_projection(self.out_proj(y * beside(self.norm_scale, y)))

    def __call__(
        self,
        x: Float[Array, "batch length width"],
        positions: Int[Array, "batch queries"] | None = None,
    ) -> Float[Array, "batch positions width"]:
        """Mix all tokens at once; return the outputs at `positions`, or all if it is None."""
        z, selected = self._convolved(x)
        x, q, update = self._select(*selected)
        update = update._replace(log_decay=passed_decay(self, update.log_decay))
        y = dplr_recurrence(self, q, update, self.backend, positions)
        y = self.ssm_output(with_skip(y, self.D, at_positions(x, positions)))
        return self._out(y, *(at_positions(gate, positions) for gate in z))

    def initial_state(self, batch: int, max_length: int) -> dict[str, Array]:
        """Empty state, whose size does not depend on `max_length`."""
        del max_length
        state = jnp.zeros((batch, self.heads, self.d_state, self.head_dim))
        return {"ssm": state, "conv": self.conv.initial_state(batch)}

    def step(
        self, state: dict[str, Array], x_t: Float[Array, "batch width"]
    ) -> tuple[dict[str, Array], Float[Array, "batch width"]]:
        """Mix one token; return the next state and the output."""
        z, mixed, dt = self._parts(x_t)
        window, mixed = self.conv.step(state["conv"], mixed)
        x, q, update = self._select(dt, *self._activated(mixed))
        ssm, y = dplr_step(state["ssm"], q, update)
        return {"ssm": ssm, "conv": window}, self._out(with_skip(y, self.D, x), *z)
