"""The time mixing of RWKV-4 (Peng et al. 2023).

    k, v, r = W_* (m_* x[t] + (1 - m_*) x[t-1]);   y = W_o (sigmoid(r) * wkv(k, v))

with the weighted average of `ops.wkv`, log decay w = -exp(time_decay) and bonus u = time_first.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Float, Int
from mecheval_jax.errors import choose
from mecheval_jax.mixers import initializers
from mecheval_jax.mixers.recurrence import STATE_SITES
from mecheval_jax.mixers.short_convolution import shift_one
from mecheval_jax.ops.positions import at_positions
from mecheval_jax.ops.precision import beside
from mecheval_jax.ops.short_convolution import shifted
from mecheval_jax.ops.wkv import BACKENDS, wkv, wkv_state, wkv_step
from mecheval_jax.sites import declare


class RWKV4(nn.Module):
    """RWKV-4's sequence mixer.

    Attributes:
        width: Number of channels of the residual stream.
        layer: Index of the layer, on which the initial decays and mixtures depend.
        layers: Number of layers of the model.
        backend: Backend of `ops.wkv`.
    """

    width: int
    layer: int = 0
    layers: int = 1
    backend: str = "auto"

    SITES = {
        "k": "logarithms of the weights",
        "v": "values",
        "r": "receptance, before its sigmoid",
        "state": STATE_SITES["state"] + " [..., (numerator, denominator, exponent), width]",
        "average": "weighted average of values",
    }

    @nn.nowrap
    def local_reach(self) -> dict[str, float]:
        """See `sites.reach_of`."""
        return dict.fromkeys("kvr", 1)

    def __post_init__(self):
        choose("backend", self.backend, BACKENDS)
        super().__post_init__()

    def setup(self):
        declare(self)
        depth = self.layer / max(self.layers - 1, 1)
        rest = 1 - self.layer / self.layers
        channel = jnp.arange(self.width) / self.width
        last = jnp.arange(self.width) / max(self.width - 1, 1)
        zigzag = (jnp.arange(1, self.width + 1) % 3 - 1) / 2
        initial = {
            "time_decay": -5 + 8 * last ** (0.7 + 1.3 * depth),
            "time_first": jnp.log(0.3) + zigzag,
            "mix_k": channel**rest,
            "mix_v": channel**rest + 0.3 * depth,
            "mix_r": channel ** (rest / 2),
        }
        for name, value in initial.items():
            setattr(self, name, self.param(name, lambda key, value=value: value))
        self.k_proj, self.v_proj, self.r_proj, self.out_proj = (
            nn.Dense(self.width, use_bias=False, kernel_init=initializers.dense) for _ in range(4)
        )

    def _project(self, x: Array, previous: Array) -> list[Array]:
        """k, v and r, each from its own mixture of a token and the one before."""
        parts = []
        for name in "kvr":
            mix = beside(getattr(self, f"mix_{name}"), x)
            projected = getattr(self, f"{name}_proj")(mix * x + (1 - mix) * previous)
            parts.append(getattr(self, name)(projected))
        return parts

    @property
    def _rates(self) -> tuple[Array, Array]:
        """W and u of `ops.wkv`."""
        return -jnp.exp(self.time_decay), self.time_first

    def _out(self, y: Array, r: Array) -> Array:
        return self.out_proj(jax.nn.sigmoid(r) * y)

    def __call__(
        self,
        x: Float[Array, "batch length width"],
        positions: Int[Array, "batch queries"] | None = None,
    ) -> Float[Array, "batch positions width"]:
        """Mix all tokens at once; return the outputs at `positions`, or all if it is None."""
        k, v, r = self._project(x, shifted(x))
        states = jax.ShapeDtypeStruct((*k.shape[:2], 3, self.width), k.dtype)
        entry = self.state.checked_entry(states)
        y, states = wkv(k, v, *self._rates, entry, self.backend)
        self.state(states, rewritten=True)
        y = self.average(y)
        return self._out(at_positions(y, positions), at_positions(r, positions))

    def initial_state(self, batch: int, max_length: int) -> dict[str, Array]:
        """Empty sums and no previous token, of sizes that do not depend on `max_length`."""
        del max_length
        previous = jnp.zeros((batch, self.width))
        return {"sums": wkv_state(batch, self.width), "previous": previous}

    def step(
        self, state: dict[str, Array], x_t: Float[Array, "batch width"]
    ) -> tuple[dict[str, Array], Float[Array, "batch width"]]:
        """Mix one token; return the next state and the output."""
        kept, before = shift_one(state["previous"], x_t)
        k, v, r = self._project(x_t, before)
        sums, y = wkv_step(state["sums"], k, v, *self._rates)
        return {"sums": sums, "previous": kept}, self._out(y, r)
