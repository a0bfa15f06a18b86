"""mLSTM in its block form (xLSTM, Beck et al. 2024), stabilised.

    u, z = halves of W_up x;   c = silu(conv(u));   q, k = maps of c, v = map of u, 4 channels each
    i, f = W [q, k, v] + b in each head;   m[t] = max(log sigmoid(f) + m[t-1], i),  m[-1] = -inf
    F = exp(log sigmoid(f) + m[t-1] - m),   I = exp(i - m)
    S <- F S + I k/sqrt(key) [v, 1]^T;   [n, d] = S^T q;   h = n / (max(|d|, exp(-m)) + 1e-6)
    y = W_down ((LayerNorm(h) (1 + scale) + skip c) silu(z))

The norm is over each head. The state is C and n of the paper, both divided by exp(m), which keeps
them finite whatever the exponential input gate is.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Float, Int, PyTree
from mecheval_jax.errors import UserError, choose
from mecheval_jax.mixers import initializers
from mecheval_jax.mixers.norms import HeadNorm
from mecheval_jax.mixers.options import OPTIONS, divisors_near
from mecheval_jax.mixers.recurrence import STATE_SITES, dplr_recurrence, passed_decay
from mecheval_jax.mixers.short_convolution import ShortConvolution, reach_of_taps
from mecheval_jax.ops.dplr import BACKENDS, Update, dplr_step
from mecheval_jax.ops.positions import at_positions
from mecheval_jax.ops.precision import beside, widened
from mecheval_jax.ops.stabilizer import bounded_below, log_maximum
from mecheval_jax.sites import declare

BLOCK = 4
"""Channels that the maps into q, k and v mix."""

EPSILON = 1e-6
LARGEST = 80.0
"""Logarithm of the largest number that outputs are divided by; float32 ends at 88."""


def inner_width(width: int) -> int:
    """Number of channels inside the mixer: twice the width, rounded up to a multiple of 64."""
    return 64 * math.ceil(2 * width / 64)


class MLSTM(nn.Module):
    """A matrix memory with exponential input gates.

    Attributes:
        width: Number of channels of the residual stream.
        layers: Number of layers of the model, which scales the initial output projection.
        heads: Number of heads, a divisor of the inner width.
        kernel: Number of taps of the short convolution; 0 for none (its silu remains).
        backend: Backend of the recurrence.
    """

    width: int
    layers: int = 1
    heads: int = 4
    kernel: int = 4
    backend: str = "auto"

    CUT = False
    SITES = {
        "conv_input": "input of the short convolution",
        "conv_output": "output of the short convolution, before its silu",
        "q": "queries by head",
        "k": "keys by head",
        "v": "values by head",
        "input_gate": "i, the logarithm of the input gate",
        "forget_gate": "f, before its sigmoid",
        "decay": STATE_SITES["decay"] + ", stabilised",
        "write": STATE_SITES["write"] + ", stabilised",
        "state": STATE_SITES["state"] + ", stabilised: C and n",
        "head_output": "output of each head, before its norm",
        "gate": "z, before its silu",
    }

    HEADS_ADD = False  # the skip of c, which is no head's, depends on the tokens
    WITHOUT_DECAY = ("conv/bias", "i_proj/bias", "f_proj/bias", "skip", "norm/scale")

    @nn.nowrap
    def local_reach(self) -> dict[str, float]:
        """See `sites.reach_of`."""
        return {"conv_output": reach_of_taps(self.kernel)}

    def __post_init__(self):
        inner = inner_width(self.width)
        if inner % (BLOCK * self.heads):
            raise UserError(
                f"mlstm: {OPTIONS}heads is {self.heads}: {inner} inner channels do not divide into "
                f"{self.heads} heads of whole blocks of {BLOCK}; "
                f"they do into {divisors_near(inner // BLOCK, self.heads)}"
            )
        choose("backend", self.backend, BACKENDS)
        super().__post_init__()

    def setup(self):
        declare(self)
        inner, width = inner_width(self.width), self.width
        small = nn.initializers.normal(math.sqrt(2 / (5 * width)))
        self.up_proj = nn.Dense(2 * inner, use_bias=False, kernel_init=small)
        self.conv = ShortConvolution(inner, self.kernel)
        blocks = (inner // BLOCK, BLOCK, BLOCK)  # block, output, input
        self.q_map, self.k_map, self.v_map = (
            self.param(f"{name}_map", small, blocks) for name in "qkv"
        )
        zeros, noise = nn.initializers.zeros, nn.initializers.normal(0.1)
        self.i_proj = nn.Dense(self.heads, kernel_init=zeros, bias_init=noise)
        self.f_proj = nn.Dense(self.heads, kernel_init=zeros, bias_init=initializers.line(3, 6))
        self.norm = HeadNorm(shared=False, offset=1.0, center=True)
        self.skip = self.param("skip", nn.initializers.ones, (inner,))
        into_residual = nn.initializers.normal(2 / (self.layers * math.sqrt(width)))
        self.down_proj = nn.Dense(width, use_bias=False, kernel_init=into_residual)

    def _up(self, x: Array) -> tuple[Array, Array]:
        """The input of the convolution, and the gate z."""
        u, z = jnp.split(self.up_proj(x), 2, axis=-1)
        return self.conv_input(u), self.gate(z)

    def _select(self, u: Array, c: Array) -> tuple[Array, Array, Array, Array, Array]:
        """q, k and [v, 1] by head, i, and log sigmoid(f)."""
        lead = u.shape[:-1]
        parts = []
        for h, weights in ((c, self.q_map), (c, self.k_map), (u, self.v_map)):
            mapped = jnp.einsum("...ni,noi->...no", h.reshape(*lead, -1, BLOCK), weights)
            parts.append(mapped.reshape(*lead, -1))
        joint = jnp.concatenate(parts, axis=-1)
        i, f = self.input_gate(self.i_proj(joint)), self.forget_gate(self.f_proj(joint))
        q, k, v = (h.reshape(*lead, self.heads, -1) for h in parts)
        q, k, v = self.q(q), self.k(k), self.v(v)
        v = jnp.concatenate([v, jnp.ones_like(v[..., :1])], axis=-1)
        # Differences with the stabiliser would be NaN of gates that are minus infinity.
        gates = bounded_below(widened(i)), bounded_below(jax.nn.log_sigmoid(widened(f)))
        return q, k * k.shape[-1] ** -0.5, v, *gates

    def _out(self, read: Array, m: Array, c: Array, z: Array) -> Array:
        """Output projection of what was read, [..., heads, value + 1], with stabilisers m."""
        # Beyond that size the output is 0 either way, and the gradient of an infinite one is NaN.
        least = jnp.exp(jnp.minimum(-m, LARGEST))[..., None].astype(read.dtype)
        scale = jnp.maximum(jnp.abs(read[..., -1:]), least)
        heads = self.norm(self.head_output(read[..., :-1] / (scale + EPSILON)))
        y = heads.reshape(c.shape) + beside(self.skip, c) * c
        return self.down_proj(y * jax.nn.silu(z))

    def __call__(
        self,
        x: Float[Array, "batch length width"],
        positions: Int[Array, "batch queries"] | None = None,
    ) -> Float[Array, "batch positions width"]:
        """Mix all tokens at once; return the outputs at `positions`, or all if it is None."""
        u, z = self._up(x)
        c = jax.nn.silu(self.conv_output(self.conv(u)))
        q, k, v, i, log_f = self._select(u, c)
        m = log_maximum(log_f, i)
        # The first token decays nothing: what stands there for m[-1] only has to be finite.
        last = jnp.concatenate([m[:, :1], m[:, :-1]], axis=1)
        written = jnp.exp(i - m)[..., None].astype(k.dtype) * k
        log_decay = passed_decay(self, (log_f + last - m)[..., None])
        update = Update(written, v, log_decay)
        read = dplr_recurrence(self, q, update, self.backend, positions)
        return self._out(read, *(at_positions(h, positions) for h in (m, c, z)))

    def initial_state(self, batch: int, max_length: int) -> dict[str, PyTree]:
        """Empty memory, whose size does not depend on `max_length`."""
        del max_length
        head = inner_width(self.width) // self.heads
        lead = (batch, self.heads)
        return {
            "matrix": jnp.zeros((*lead, head, head + 1)),
            "m": jnp.full(lead, -jnp.inf),
            "conv": self.conv.initial_state(batch),
        }

    def step(
        self, state: dict[str, PyTree], x_t: Float[Array, "batch width"]
    ) -> tuple[dict[str, PyTree], Float[Array, "batch width"]]:
        """Mix one token; return the next state and the output."""
        u, z = self._up(x_t)
        window, c = self.conv.step(state["conv"], u)
        c = jax.nn.silu(c)
        q, k, v, i, log_f = self._select(u, c)
        m = jnp.maximum(log_f + state["m"], i).astype(state["m"].dtype)
        k = jnp.exp(i - m)[..., None].astype(k.dtype) * k
        decay = (log_f + state["m"] - m)[..., None]
        matrix, read = dplr_step(state["matrix"], q, Update(k, v, decay))
        return {"matrix": matrix, "m": m, "conv": window}, self._out(read, m, c, z)
