"""Mamba-3 (Lahoti et al. 2026), with one input and output (SISO) or several (MIMO) of each head.

    z, x, B, C, delta, alpha, lambda, phi = parts of W_in x
    dt = softplus(delta + dt_bias);   a = exp(-dt f(alpha)),  f(r) = 1 + r, or 1 / (1 - r) if r < 0
    (until June 2026 f was softplus: ``rates`` says which, see `mixers.mamba3_rates`)
    theta <- theta + pi tanh(phi) dt;   k, q = RMSNorm(B), RMSNorm(C) + bias, turned by theta
    S <- a (S + (1 - l) dt k[t-1] v[t-1]^T) + l dt k v^T,   l = sigmoid(lambda)   (trapezoid rule)
    y = S^T q + D v;   out = W_out (y silu(z))

With several ranks, B and C have a part for each; see `mixers.head_ranks` and `ops.trapezoid`. With
``out_norm``, y is normalised before the gate. The state has fixed axes, in which k and q turn; the
site ``write`` has those of its token, and depends on this token and the one before alone.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Float, Int
from mecheval_jax.errors import UserError, choose
from mecheval_jax.mixers import initializers
from mecheval_jax.mixers.head_ranks import HeadRanks
from mecheval_jax.mixers.mamba3_rates import RATES, log_decay
from mecheval_jax.mixers.norms import HeadNorm
from mecheval_jax.mixers.options import OPTIONS, require_inner_heads
from mecheval_jax.mixers.projection import Projection, apart
from mecheval_jax.mixers.recurrence import STATE_SITES
from mecheval_jax.ops.dplr import BACKENDS
from mecheval_jax.ops.linear_recurrence import linear_recurrence
from mecheval_jax.ops.positions import at_positions
from mecheval_jax.ops.precision import beside
from mecheval_jax.ops.rotary import turn
from mecheval_jax.ops.short_convolution import shifted
from mecheval_jax.ops.trapezoid import Weights, outer, trapezoid, trapezoid_step
from mecheval_jax.sites import declare


class Mamba3(nn.Module):
    """A state space model with a complex state and the trapezoid rule.

    Attributes:
        width: Number of channels of the residual stream.
        layers: Number of layers of the model, which scales the initial output projection.
        d_state: Size of the state per channel.
        expand: Number of inner channels per channel of the residual stream.
        head_dim: Number of channels of a head.
        ranks: Number of inputs and outputs of a head; 1 for SISO.
        turned: Share of the state's channels that are turned.
        out_norm: Whether what each head reads is normalised before the gate.
        gated: Whether the gate z is there.
        rates: Form of the rates of decay, a name in `mamba3_rates.RATES`.
        backend: Backend of `ops.trapezoid`.
    """

    width: int
    layers: int = 1
    d_state: int = 128
    expand: int = 2
    head_dim: int = 64
    ranks: int = 1
    turned: float = 0.5
    out_norm: bool = False
    gated: bool = True
    rates: str = "reciprocal"
    backend: str = "auto"

    SITES = {
        "in_projection": "output of the input projection, all parts",
        "x": "input of the state space model, by head",
        "B": "direction in which x is written, by rank, after its norm",
        "C": "direction in which the state is read, by rank, after its norm",
        "dt": "step size, after its softplus",
        "trapezoid": "share of this token in the write, the rest being the token before's",
        "turn": "angles by which the state's planes are turned at this token",
        "k": "B by head and rank, with its bias, before it is turned",
        "q": "C by head and rank, with its bias, before it is turned",
        "decay": STATE_SITES["decay"],
        "write": STATE_SITES["write"] + ", of this one and the one before, turned back",
        "state": STATE_SITES["state"],
        "ssm_output": "output that is read from the state, by head and rank, plus D v",
        "gate": "z, before its silu (only with it)",
        "out_projection": "output of the output projection",
    }

    WITHOUT_DECAY = ("dt_bias", "D")
    heads = property(lambda self: self.expand * self.width // self.head_dim)
    planes = property(lambda self: int(self.d_state * self.turned) // 2)

    @nn.nowrap
    def local_reach(self) -> dict[str, float]:
        """See `sites.reach_of`."""
        return {"write": 1}

    def __post_init__(self):
        require_inner_heads("mamba3", self.expand * self.width, self.head_dim)
        if self.d_state % 2:
            raise UserError(
                f"{OPTIONS}d_state is {self.d_state}: the state of mamba3 has an even size"
            )
        if not 0 < self.planes <= self.d_state // 2:
            raise UserError(
                f"{OPTIONS}turned is {self.turned}: of d_state {self.d_state} that is "
                f"{self.turned * self.d_state:g} channels; mamba3 turns at least 2 and at most "
                f"{self.d_state}"
            )
        choose("rates", self.rates, RATES)
        choose("backend", self.backend, BACKENDS)
        super().__post_init__()

    def setup(self):
        declare(self)
        inner, state = self.expand * self.width, self.ranks * self.d_state
        sizes = (inner,) * (1 + self.gated) + (state, state, *(self.heads,) * 3, self.planes)
        whole = (self.gated + 1, self.gated + 2, self.gated + 6)  # B, C and phi
        fan_in = initializers.uniform_fan_in
        self.in_proj = Projection(self.width, sizes, False, fan_in, shared=whole)
        self.dt_bias = self.param("dt_bias", initializers.time_step_bias, (self.heads,))
        ones, by_rank = nn.initializers.ones, (self.heads, self.ranks)
        self.B_norm, self.C_norm = HeadNorm(), HeadNorm()
        self.B_bias = self.param("B_bias", ones, (*by_rank, self.d_state))
        self.C_bias = self.param("C_bias", ones, (*by_rank, self.d_state))
        self.D = self.param("D", ones, (self.heads,))
        self.mimo = HeadRanks(*by_rank, self.head_dim, self.gated)
        if self.out_norm:
            self.norm = HeadNorm(shared=False)
        into_residual = initializers.mamba_out_projection(self.layers)
        self.out_proj = nn.Dense(self.width, use_bias=False, kernel_init=into_residual)

    def _select(self, x: Array) -> tuple[list[Array], tuple[Array, ...]]:
        """The gate z, if any; and x by head, k, q, log_decay, now, before, and angles to turn."""
        joint = not apart(self.heads, self.in_projection)
        cut = self.in_proj.cut(self.in_projection(self.in_proj(x))) if joint else None
        *z, u, B, C, dt, alpha, share, phi = cut or self.in_proj.parts(x)
        dt = self.dt(jax.nn.softplus(dt + beside(self.dt_bias, dt)))
        share = self.trapezoid(jax.nn.sigmoid(share))
        angle = self.turn(jnp.pi * jnp.tanh(phi)[..., None, :] * dt[..., None])
        B, C = (h.reshape(*x.shape[:-1], self.ranks, self.d_state) for h in (B, C))
        B, C = (h[..., None, :, :] for h in (self.B(self.B_norm(B)), self.C(self.C_norm(C))))
        k, q = self.k(B + beside(self.B_bias, B)), self.q(C + beside(self.C_bias, C))
        u = self.x(u.reshape(*x.shape[:-1], self.heads, self.head_dim))
        weights = (share * dt, (1 - share) * dt)
        return z, (u, k, q, log_decay(alpha, dt, self.rates), *weights, angle)

    def turned_by(self, h: Array, angle: Array) -> Array:
        """Turn k or q [..., heads, ranks, state] by angles [..., heads, planes]."""
        return turn(h, angle[..., None, :], neighbours=self.ranks == 1)

    def _out(self, y: Array, v: Array, z: Array | None = None) -> Array:
        """Output projection of what was read, gated by z and summed over ranks."""
        y = self.ssm_output(y + beside(self.D[:, None, None], v) * v)
        if self.out_norm:
            y = jnp.swapaxes(self.norm(jnp.swapaxes(y, -3, -2)), -3, -2)
        y = self.mimo.output(y, z if z is None else self.gate(z))
        return self.out_projection(self.out_proj(y))

    def __call__(
        self,
        x: Float[Array, "batch length width"],
        positions: Int[Array, "batch queries"] | None = None,
    ) -> Float[Array, "batch positions width"]:
        """Mix all tokens at once; return the outputs at `positions`, or all if it is None."""
        z, (u, k, q, *weights, angle) = self._select(x)
        theta = jnp.cumsum(angle, axis=1)
        turned = self.turned_by(k, theta), self.turned_by(q, theta)
        v = self.mimo.inputs(u)
        y = self._recur(k, v, turned, Weights(*weights), (angle, theta))
        return self._out(*(at_positions(h, positions) for h in (y, v, *z)))

    def _recur(self, k: Array, v: Array, turned: tuple, weights: Weights, angles: tuple) -> Array:
        """Outputs of the recurrence, through the sites decay, write and state."""
        sites = (self.decay, self.write, self.state)
        fast = trapezoid(turned[1], turned[0], v, weights, self.backend)
        if not any(site.in_use() for site in sites):
            return fast
        log_decay, now, before = (h[..., None, None] for h in weights)
        k_last, v_last = shifted(k), shifted(v)
        decay = jnp.exp(log_decay)
        write = decay * before * outer(self.turned_by(k_last, -angles[0]), v_last)
        write = self.write(write + now * outer(k, v))
        write = jnp.swapaxes(self.turned_by(jnp.swapaxes(write, -1, -2), angles[1]), -1, -2)
        entry = self.state.checked_entry(write)
        states = linear_recurrence(self.decay(decay), write, backend=self.backend, entry=entry)
        states = self.state(states, rewritten=True)
        read = jnp.einsum("blhkv,blhrk->blhrv", states, turned[1]).astype(fast.dtype)
        return read if any(site.replaced() for site in sites) else fast

    def initial_state(self, batch: int, max_length: int) -> dict[str, Array]:
        """Empty state, whose size does not depend on `max_length`."""
        del max_length
        sizes = {"ssm": (self.d_state, self.head_dim), "k": (self.ranks, self.d_state)}
        sizes |= {"x": (self.head_dim,), "angle": (self.planes,)}
        return {name: jnp.zeros((batch, self.heads, *size)) for name, size in sizes.items()}

    def step(
        self, state: dict[str, Array], x_t: Float[Array, "batch width"]
    ) -> tuple[dict[str, Array], Float[Array, "batch width"]]:
        """Mix one token; return the next state and the output."""
        z, (u, k, q, *weights, angle) = self._select(x_t)
        theta = (state["angle"] + angle) % (2 * jnp.pi)
        k, q, v = self.turned_by(k, theta), self.turned_by(q, theta), self.mimo.inputs(u)
        last = (state["ssm"], state["k"], self.mimo.inputs(state["x"]))
        (ssm, _, _), y = trapezoid_step(last, q, k, v, Weights(*weights))
        new = {"ssm": ssm, "k": k, "x": u, "angle": theta}
        kept = {name: value.astype(state[name].dtype) for name, value in new.items()}
        return kept, self._out(y, v, *z)
