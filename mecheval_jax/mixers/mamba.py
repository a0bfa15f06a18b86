"""Mamba (Gu and Dao 2023).

    u, z = halves of W_in x
    u = silu(conv(u));   dt_r, B, C = W_x u;   dt = softplus(W_dt dt_r + b_dt)
    y = selective_scan(u, dt, A, B, C) + D u,   A = -exp(A_log)
    out = W_out (y silu(z))

with the recurrence of `ops.selective_scan`.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Float, Int
from mecheval_jax.errors import choose
from mecheval_jax.mixers import initializers
from mecheval_jax.mixers.initializers import Initializer
from mecheval_jax.mixers.projection import Projection, apart
from mecheval_jax.mixers.recurrence import STATE_SITES, Recurrence, recurrence
from mecheval_jax.mixers.short_convolution import ShortConvolution, reach_of_taps
from mecheval_jax.ops.positions import at_positions
from mecheval_jax.ops.precision import beside
from mecheval_jax.ops.selective_scan import BACKENDS, selective_scan, selective_scan_step
from mecheval_jax.sites import declare

INNER_SITES = {
    "in_projection": "output of the input projection, all parts",
    "conv_input": "input of the short convolution",
    "conv_output": "output of the short convolution, before its silu",
    "activation": "silu of the output of the short convolution",
    "x": "input of the state space model",
    "B": "direction in which x is written into the state",
    "C": "direction in which the state is read",
    "dt": "step size, after its softplus",
    **STATE_SITES,
    "ssm_output": "output that is read from the state, plus D x",
    "gate": "z, before its silu (only with it)",
    "out_projection": "output of the output projection",
}


class Mamba(nn.Module):
    """A selective state space model.

    Attributes:
        width: Number of channels of the residual stream.
        layers: Number of layers of the model, which scales the initial output projection.
        d_state: Size of the state per inner channel.
        d_conv: Number of taps of the short convolution; 0 for none (its silu remains).
        expand: Number of inner channels per channel of the residual stream.
        bias: Whether the input and output projections have biases.
        conv_bias: Whether the short convolution has a bias.
        dt_rank: Number of channels from which step sizes are computed; 0 for width / 16.
        gated: Whether the gate z is there.
        inner_norms: Whether dt_r, B and C are normalised by an RMSNorm each, as in Jamba.
        epsilon: Epsilon of these norms.
        scan_backend: Backend of `ops.selective_scan`.
    """

    width: int
    layers: int = 1
    d_state: int = 16
    d_conv: int = 4
    expand: int = 2
    bias: bool = False
    conv_bias: bool = True
    dt_rank: int = 0
    gated: bool = True
    inner_norms: bool = False
    epsilon: float = 1e-6
    scan_backend: str = "auto"

    SITES = INNER_SITES
    WITHOUT_DECAY = ("A_log", "D")

    @property
    def rank(self) -> int:
        """Number of channels from which step sizes are computed."""
        return self.dt_rank or math.ceil(self.width / 16)

    @nn.nowrap
    def local_reach(self) -> dict[str, float]:
        """See `sites.reach_of`."""
        return {"conv_output": reach_of_taps(self.d_conv)}

    def __post_init__(self):
        choose("scan_backend", self.scan_backend, BACKENDS)
        super().__post_init__()

    def setup(self):
        declare(self)
        inner = self.expand * self.width

        def dense(
            features: int,
            use_bias: bool = self.bias,
            init: Initializer = initializers.uniform_fan_in,
        ) -> nn.Dense:
            return nn.Dense(features, use_bias=use_bias, kernel_init=init)

        halves = (inner,) * (1 + self.gated)
        self.in_proj = Projection(self.width, halves, self.bias, initializers.uniform_fan_in)
        self.conv = ShortConvolution(inner, self.d_conv, self.conv_bias)
        self.x_proj = dense(self.rank + 2 * self.d_state, use_bias=False)
        self.dt_proj = nn.Dense(
            inner,
            kernel_init=initializers.uniform_fan_in,
            bias_init=initializers.time_step_bias,
        )
        if self.inner_norms:
            self.dt_norm, self.B_norm, self.C_norm = (
                nn.RMSNorm(epsilon=self.epsilon, use_fast_variance=False) for _ in range(3)
            )
        self.A_log = self.param("A_log", initializers.log_integers, (inner, self.d_state))
        self.D = self.param("D", nn.initializers.ones, (inner,))
        self.out_proj = dense(self.width, init=initializers.mamba_out_projection(self.layers))

    def _halves(self, x: Array) -> tuple[Array, ...]:
        """Halves u and, if there is a gate, z of the input projection."""
        if apart(self.width, self.in_projection):
            u, *z = self.in_proj.parts(x)
        else:
            u, *z = self.in_proj.cut(self.in_projection(self.in_proj(x)))
        return self.conv_input(u), *map(self.gate, z)

    def _select(self, u: Array) -> tuple[Array, Array, Array, Array, Array]:
        """Arguments of the scan: x, dt, A, B and C."""
        u = self.activation(jax.nn.silu(u))
        ends = (self.rank, self.rank + self.d_state)
        dt, B, C = jnp.split(self.x_proj(u), ends, axis=-1)
        if self.inner_norms:
            dt, B, C = self.dt_norm(dt), self.B_norm(B), self.C_norm(C)
        dt = self.dt(jax.nn.softplus(self.dt_proj(dt)))
        return self.x(u), dt, -jnp.exp(self.A_log), self.B(B), self.C(C)

    def _out(self, y: Array, *z: Array) -> Array:
        """Output projection of y, gated by z if there is a gate."""
        for gate in z:
            y = y * jax.nn.silu(gate)
        return self.out_projection(self.out_proj(y))

    def __call__(
        self,
        x: Float[Array, "batch length width"],
        positions: Int[Array, "batch queries"] | None = None,
    ) -> Float[Array, "batch positions width"]:
        """Mix all tokens at once; return the outputs at `positions`, or all if it is None."""
        u, *z = self._halves(x)
        u, dt, A, B, C = self._select(self.conv_output(self.conv(u)))
        form = Recurrence(
            fast=lambda: selective_scan(u, dt, A, B, C, backend=self.scan_backend),
            decay=lambda u, dt, B, C: jnp.exp(dt[:, :, None] * A.T[None, None]),
            write=lambda u, dt, B, C: B[..., None] * (dt * u)[:, :, None],
            # Of a single token, [batch, 1, ...], a sum over the state would take ten times as long.
            read=lambda states, u, dt, B, C: jnp.einsum(
                "blnd,bln->bld", states, C, precision="highest"
            ).astype(u.dtype),
            tokens=(u, dt, B, C),
        )
        backend = "auto" if self.scan_backend == "pallas" else self.scan_backend
        y = recurrence(self, form, backend)
        y = self.ssm_output(y + beside(self.D, u) * u)
        return self._out(*(at_positions(h, positions) for h in (y, *z)))

    def initial_state(self, batch: int, max_length: int) -> dict[str, Array]:
        """Empty state, whose size does not depend on `max_length`."""
        del max_length
        state = jnp.zeros((batch, self.d_state, self.expand * self.width))
        return {"ssm": state, "conv": self.conv.initial_state(batch)}

    def step(
        self, state: dict[str, Array], x_t: Float[Array, "batch width"]
    ) -> tuple[dict[str, Array], Float[Array, "batch width"]]:
        """Mix one token; return the next state and the output."""
        u, *z = self._halves(x_t)
        window, u = self.conv.step(state["conv"], u)
        selected = self._select(u)
        ssm, y = selective_scan_step(state["ssm"], *selected)
        return {"ssm": ssm, "conv": window}, self._out(y + beside(self.D, u) * selected[0], *z)
