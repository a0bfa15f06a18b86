"""The time mixing of RWKV-7 (arXiv 2503.14456).

    x_c = x + m_c (x[t-1] - x)    for c in r, w, k, v, a, g
    r, k, v = W x_c;   w = exp(-e^(-1/2) sigmoid(w0 + tanh(x_w w1) w2))    (a decay per key channel)
    alpha = sigmoid(a0 + x_a a1 a2);   g = sigmoid(x_g g1) g2
    v <- v + (v of layer 0 - v) sigmoid(v0 + x_v v1 v2)                    (from layer 1 on)
    kappa = k k_k / |k k_k|  (by head);   k <- k (1 + (alpha - 1) k_a)
    S <- Diag(w) S - (alpha kappa) (S^T kappa)^T + k v^T;   o = S^T r
    y = W_o ((GroupNorm(o) + (r . (k r_k)) v) g)

with a state S [key, value] per head (`ops.dplr`) and an epsilon of 64e-5 in the norm. Layer 0 hands
its values on to the later layers: a model gives them to `mix` as `first`. A mixer that is given
none takes its own. The authors give ``w0`` twice the learning rate.
"""

import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Float, Int
from mecheval_jax.errors import choose
from mecheval_jax.mixers.initializers import orthogonal
from mecheval_jax.mixers.options import require_heads
from mecheval_jax.mixers.recurrence import ERASE, STATE_SITES, dplr_recurrence, passed_decay
from mecheval_jax.mixers.rwkv7_start import MIXTURES, RANKS, initial_values, rank_of
from mecheval_jax.mixers.short_convolution import shift_one
from mecheval_jax.ops.dplr import BACKENDS, Update, dplr_step
from mecheval_jax.ops.positions import at_positions
from mecheval_jax.ops.precision import beside
from mecheval_jax.ops.short_convolution import shifted
from mecheval_jax.sites import declare

EPSILON = 64e-5


class RWKV7(nn.Module):
    """RWKV-7's sequence mixer.

    Attributes:
        width: Number of channels of the residual stream.
        layer: Index of the layer, on which initial values depend; layer 0 hands its values on.
        layers: Number of layers of the model.
        heads: Number of heads.
        backend: Backend of `ops.dplr`.
        w_rank, a_rank, v_rank, g_rank: Ranks of the maps of w, alpha, v and g; 0 for `rank_of`.
    """

    width: int
    layer: int = 0
    layers: int = 2
    heads: int = 1
    backend: str = "auto"
    w_rank: int = 0
    a_rank: int = 0
    v_rank: int = 0
    g_rank: int = 0

    SITES = {
        "r": "receptances by head, which read the state",
        "k": "keys by head",
        "v": "values by head",
        "v_first": "values of layer 0, of which later layers mix some into their own",
        "alpha": "share of what the state returns for kappa that is taken from it",
        "kappa": "keys by head whose values are taken from the state",
        **STATE_SITES,
        "erase": ERASE,
        "head_output": "output of each head, before its norm",
        "gate": "output gate",
    }
    HEADS_ADD = False  # the token's own value, added behind them, is no constant
    HANDS_ON = True
    WITHOUT_DECAY = (
        *(f"x_{name}" for name in MIXTURES),
        *(f"{name}{i}" for name in "wav" for i in range(3)),
        *("g1", "g2", "k_k", "k_a", "r_k", "ln_scale", "ln_bias"),
    )
    RATES = {"w0": 2.0}
    LEAST_LOG_DECAY = -math.exp(-0.5)

    @nn.nowrap
    def local_reach(self) -> dict[str, float]:
        """See `sites.reach_of`."""
        return dict.fromkeys(("r", "k", "v", "v_first", "alpha", "kappa", "decay", "gate"), 1)

    def __post_init__(self):
        require_heads(self.width, self.heads)
        choose("backend", self.backend, BACKENDS)
        super().__post_init__()

    def setup(self):
        declare(self)
        width, initial = self.width, initial_values(self.width, self.heads, self.layer, self.layers)
        self.mixtures = {
            name: self.param(f"x_{name}", lambda _, name=name: initial[f"x_{name}"])
            for name in MIXTURES
        }
        vectors = ("w0", "a0", "k_k", "k_a", "r_k", "ln_scale", "ln_bias")
        for name in vectors if self.layer == 0 else (*vectors, "v0"):
            setattr(self, name, self.param(name, lambda _, name=name: initial[name]))
        for name in RANKS:
            rank = getattr(self, f"{name}_rank") or rank_of(name, width)
            gain = 0.1 * math.sqrt(max(rank / width, 1))
            if name != "v" or self.layer:
                down, up = nn.initializers.zeros, orthogonal(gain)
                setattr(self, f"{name}1", self.param(f"{name}1", down, (width, rank)))
                setattr(self, f"{name}2", self.param(f"{name}2", up, (rank, width)))
        for name, gain in (("r", 1.0), ("k", 0.1), ("v", 1.0), ("o", 0.0)):
            start = orthogonal(gain) if gain else nn.initializers.zeros
            setattr(self, f"{name}_proj", nn.Dense(width, use_bias=False, kernel_init=start))
        self.norm = nn.LayerNorm(
            epsilon=EPSILON, use_scale=False, use_bias=False, use_fast_variance=False
        )

    def _by_head(self, h: Array) -> Array:
        return h.reshape(*h.shape[:-1], self.heads, -1)

    def _token(
        self, x: Array, previous: Array, first: Array | None
    ) -> tuple[Array, Array, Update, Array, Array]:
        """r, g, what the tokens do to the state (decays before their site), bonus and first."""
        row = functools.partial(beside, x=x)
        mixed = {name: x + row(mixture) * (previous - x) for name, mixture in self.mixtures.items()}
        r, k, v = (getattr(self, f"{name}_proj")(mixed[name]) for name in "rkv")
        logits = row(self.w0) + jnp.tanh(mixed["w"] @ self.w1) @ self.w2
        log_decay = self.LEAST_LOG_DECAY * jax.nn.sigmoid(logits)
        alpha = self.alpha(jax.nn.sigmoid(row(self.a0) + mixed["a"] @ self.a1 @ self.a2))
        gate = self.gate(jax.nn.sigmoid(mixed["g"] @ self.g1) @ self.g2)
        first = self.v_first(v if first is None else first)
        if self.layer:
            share = jax.nn.sigmoid(row(self.v0) + mixed["v"] @ self.v1 @ self.v2)
            v = v + (first - v) * share
        else:
            v = first
        kappa = self._by_head(k * row(self.k_k))
        square = (kappa * kappa).sum(axis=-1, keepdims=True)
        kappa = self.kappa(kappa * jax.lax.rsqrt(jnp.maximum(square, 1e-24)))
        k = self.k(self._by_head(k * (1 + (alpha - 1) * row(self.k_a))))
        r, v = self.r(self._by_head(r)), self.v(self._by_head(v))
        update = Update(k, v, self._by_head(log_decay), kappa, -self._by_head(alpha) * kappa)
        bonus = (r * k * beside(self.r_k, r)).sum(axis=-1, keepdims=True) * v
        return r, gate, update, bonus, first

    def _out(self, heads: Array, bonus: Array, gate: Array) -> Array:
        """Output projection of the norm of o and of the token's own value, gated."""
        row = functools.partial(beside, x=gate)
        o = self.norm(heads).reshape(gate.shape) * row(self.ln_scale) + row(self.ln_bias)
        return self.o_proj((o + bonus.reshape(gate.shape)) * gate)

    def mix(
        self,
        x: Float[Array, "batch length width"],
        positions: Int[Array, "batch queries"] | None = None,
        first: Float[Array, "batch length width"] | None = None,
    ) -> tuple[Float[Array, "batch positions width"], Float[Array, "batch length width"]]:
        """The outputs, and the values that layer 0 hands on; `first` are those, None in it."""
        r, gate, update, bonus, first = self._token(x, shifted(x), first)
        update = update._replace(log_decay=passed_decay(self, update.log_decay))
        heads = dplr_recurrence(self, r, update, self.backend, positions)
        read = (at_positions(h, positions) for h in (bonus, gate))
        return self._out(self.head_output(heads), *read), first

    def __call__(
        self,
        x: Float[Array, "batch length width"],
        positions: Int[Array, "batch queries"] | None = None,
    ) -> Float[Array, "batch positions width"]:
        """Mix all tokens at once; return the outputs at `positions`, or all if it is None."""
        return self.mix(x, positions)[0]

    def initial_state(self, batch: int, max_length: int) -> dict[str, Array]:
        """Empty state and no previous token, of sizes that do not depend on `max_length`."""
        del max_length
        head = self.width // self.heads
        matrix = jnp.zeros((batch, self.heads, head, head))
        return {"matrix": matrix, "previous": jnp.zeros((batch, self.width))}

    def step_from(
        self,
        state: dict[str, Array],
        x_t: Float[Array, "batch width"],
        first: Float[Array, "batch width"] | None = None,
    ) -> tuple[dict[str, Array], Float[Array, "batch width"], Float[Array, "batch width"]]:
        """Mix one token; return the next state, the output, and the values as `mix` does."""
        kept, before = shift_one(state["previous"], x_t)
        r, gate, update, bonus, first = self._token(x_t, before, first)
        matrix, o = dplr_step(state["matrix"], r, update)
        return {"matrix": matrix, "previous": kept}, self._out(o, bonus, gate), first

    def step(
        self, state: dict[str, Array], x_t: Float[Array, "batch width"]
    ) -> tuple[dict[str, Array], Float[Array, "batch width"]]:
        """Mix one token; return the next state and the output."""
        return self.step_from(state, x_t)[:2]
