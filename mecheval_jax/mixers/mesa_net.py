"""MesaNet (von Oswald et al. 2025).

    q, k = unit(silu(conv(projections of x))),   v = W_v x,   a, beta = sigmoid of projections
    S <- a S + beta k [k, v]^T,   S = [G, H]
    y = W_o RMSNorm(o),   o = H^T (G + diag(lambda))^-1 q,   lambda = softplus(parameter) + 1/4

o is the answer to q of the linear map from keys to values that fits the past best, in the sense of
squares that are weighted by beta and by the decays, with a penalty lambda on the map. The system is
solved exactly (the authors take 30 steps of conjugate gradients). See `ops.regression`.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Float, Int, PyTree
from mecheval_jax.errors import choose
from mecheval_jax.mixers import initializers
from mecheval_jax.mixers.delta_net import unit
from mecheval_jax.mixers.norms import HeadNorm
from mecheval_jax.mixers.options import require_heads
from mecheval_jax.mixers.recurrence import STATE_SITES, Recurrence, recurrence
from mecheval_jax.mixers.short_convolution import (
    Local,
    ShortConvolution,
    apply_to_all,
    apply_to_one,
    local_states,
    reach_of_taps,
)
from mecheval_jax.ops.linear_recurrence import BACKENDS, linear_recurrence
from mecheval_jax.ops.positions import at_positions
from mecheval_jax.ops.precision import widened
from mecheval_jax.ops.regression import regularized_solve
from mecheval_jax.sites import declare

SMALLEST = 0.25
"""Least penalty."""


class MesaNet(nn.Module):
    """A fast weight that is the best linear map from keys to values so far.

    Attributes:
        width: Number of channels of the residual stream.
        heads: Number of heads, a divisor of the width.
        kernel: Number of taps of the convolutions of queries and keys; 0 for none (their silu
            remains).
        backend: Backend of `ops.linear_recurrence`.
    """

    width: int
    heads: int = 1
    kernel: int = 4
    backend: str = "auto"

    SITES = {
        "q_input": "queries before their convolution",
        "k_input": "keys before their convolution",
        "q": "queries by head, of norm 1",
        "k": "keys by head, of norm 1",
        "v": "values by head",
        "beta": "weight of the pair of this token",
        "decay": STATE_SITES["decay"],
        "write": STATE_SITES["write"] + ": beta k [k, v]^T",
        "state": STATE_SITES["state"] + ": sums G of k k^T and H of k v^T",
        "solution": "(G + diag(lambda))^-1 q, which reads H",
        "head_output": "output of each head, before its norm",
    }

    HEADS_ADD = True
    WITHOUT_DECAY = ("penalty",)

    @nn.nowrap
    def local_reach(self) -> dict[str, float]:
        """See `sites.reach_of`."""
        return dict.fromkeys("qk", reach_of_taps(self.kernel))

    def __post_init__(self):
        require_heads(self.width, self.heads)
        choose("backend", self.backend, BACKENDS)
        super().__post_init__()

    def setup(self):
        declare(self)

        def dense(features: int, use_bias: bool = False) -> nn.Dense:
            return nn.Dense(features, use_bias=use_bias, kernel_init=initializers.dense)

        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (dense(self.width) for _ in range(4))
        self.q_conv, self.k_conv = (
            ShortConvolution(self.width, self.kernel, use_bias=False) for _ in "qk"
        )
        self.a_proj, self.b_proj = (dense(self.heads, use_bias=True) for _ in "ab")
        start = nn.initializers.constant(math.log(math.expm1(1 - SMALLEST)))
        self.penalty = self.param("penalty", start, (self.width,))
        self.o_norm = HeadNorm()

    def _project(self, x: Array, local: Local) -> tuple[Array, Array, Array]:
        """q, the decays and writes of the state, by head; x is [batch, length, width]."""
        found = []
        for name in "qk":
            h = getattr(self, f"{name}_input")(getattr(self, f"{name}_proj")(x))
            (h,) = local(f"{name}_conv", [h])
            h = unit(jax.nn.silu(h).reshape(*x.shape[:2], self.heads, -1))
            found.append(getattr(self, name)(h))
        q, k = found
        v = self.v(self.v_proj(x).reshape(k.shape))
        beta = self.beta(jax.nn.sigmoid(self.b_proj(x)))
        decay = jax.nn.sigmoid(widened(self.a_proj(x)))[..., None, None]
        kv = beta[..., None] * jnp.concatenate([k, v], axis=-1)
        return q, decay, widened(k)[..., None] * widened(kv)[..., None, :]

    def _read(self, states: Array, q: Array) -> Array:
        """What the heads read of states [batch, length, heads, key, key + value]."""
        G, H = jnp.split(states, 2, axis=-1)
        penalty = (jax.nn.softplus(self.penalty) + SMALLEST).reshape(self.heads, -1)
        solution = self.solution(regularized_solve(q, G, penalty))
        return jnp.einsum("blhkv,blhk->blhv", H.astype(q.dtype), solution)

    def _out(self, heads: Array) -> Array:
        heads = self.o_norm(self.head_output(heads))
        return self.o_proj(heads.reshape(*heads.shape[:-2], -1))

    def __call__(
        self,
        x: Float[Array, "batch length width"],
        positions: Int[Array, "batch queries"] | None = None,
    ) -> Float[Array, "batch positions width"]:
        """Mix all tokens at once; return the outputs at `positions`, or all if it is None."""
        q, decay, write = self._project(x, apply_to_all(self))
        q = at_positions(q, positions)

        def read(states: Array) -> Array:
            return self._read(at_positions(states, positions), q)

        form = Recurrence(
            fast=lambda: read(linear_recurrence(decay, write, backend=self.backend)),
            decay=lambda: decay,
            write=lambda: write,
            read=read,
        )
        return self._out(recurrence(self, form, self.backend))

    def initial_state(self, batch: int, max_length: int) -> dict[str, PyTree]:
        """Empty sums, whose size does not depend on `max_length`."""
        del max_length
        head = self.width // self.heads
        sums = jnp.zeros((batch, self.heads, head, 2 * head))
        return {"sums": sums} | local_states(self, batch)

    def step(
        self, state: dict[str, PyTree], x_t: Float[Array, "batch width"]
    ) -> tuple[dict[str, PyTree], Float[Array, "batch width"]]:
        """Mix one token; return the next state and the output."""
        new = dict(state)
        q, decay, write = self._project(x_t[:, None], apply_to_one(self, new))
        new["sums"] = decay[:, 0] * state["sums"] + write[:, 0]
        return new, self._out(self._read(new["sums"][:, None], q))[:, 0]
