"""Base of the mixers whose state is a matrix: GLA, RetNet and the delta family.

    q, k, v = projections of x (in the delta family: silu(conv(projection)))
    S <- Diag(a) S + y (x^T S) + k u^T;    o = S^T q        (`ops.dplr`)
    y = W_o (RMSNorm(o) * gate(x))

with a state S [key, value] per head, and one norm scale shared by the heads. Subclasses define
how q and k are prepared, the decay, and what a token does to the state. Some may have a residual
convolution behind the three projections (`mixers.canon`).
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Float, Int
from mecheval_jax.errors import UserError, choose
from mecheval_jax.mixers import canon, initializers
from mecheval_jax.mixers.options import OPTIONS
from mecheval_jax.mixers.projection import together
from mecheval_jax.mixers.recurrence import STATE_SITES, dplr_recurrence, passed_decay
from mecheval_jax.mixers.short_convolution import (
    Local,
    ShortConvolution,
    apply_to_all,
    apply_to_one,
    local_states,
    reach_of_taps,
)
from mecheval_jax.ops.dplr import BACKENDS, Update, dplr_step
from mecheval_jax.ops.positions import at_positions
from mecheval_jax.sites import declare

SITES = {
    "q": "queries by head",
    "k": "keys by head",
    "v": "values by head",
    **STATE_SITES,
    "head_output": "output of each head, before its norm",
    "gate": "output gate, before its activation",
}


def _channels(share: float, width: int) -> float:
    """Channels that are a share of the width: a whole number, if they are one but for rounding.

    A number of channels over a width, times that width, need not be the number.
    """
    channels = share * width
    return float(round(channels)) if abs(channels - round(channels)) < 1e-6 else channels


class MatrixStateMixer(nn.Module):
    """Base of the family; a subclass overrides `prepare`, `log_decay` and `update`.

    Attributes:
        width: Number of channels of the residual stream.
        heads: Number of heads.
        backend: Backend of `ops.dplr`.
        key_share: Number of channels of all keys, as a share of the width.
        value_share: Number of channels of all values, as a share of the width.
        kernel: Number of taps of the short convolutions; 0 for none, and then without their silu,
            unlike in flash-linear-attention.
        gated: Whether there is an output gate.
        epsilon: Epsilon of the norm of the heads' outputs.
    """

    width: int
    heads: int = 1
    backend: str = "auto"
    key_share: float = 1.0
    value_share: float = 1.0
    kernel: int = 0
    gated: bool = True
    epsilon: float = 1e-5

    HEADS_ADD = True
    CONVOLVED = STEPPED = False
    """Whether q, k and v may have their own convolutions; whether k and v have an axis of steps."""

    canon, canon_bias, steps = 0, True, 1
    """Taps and bias of Canon-B, and length of that axis: fields of those that may have them."""

    @classmethod
    def refused(cls) -> dict[str, str]:
        """Options of the family that this mixer does not have, and why: no value turns them on."""
        found = {}
        if not cls.CONVOLVED:
            found["kernel"] = "has no short convolutions; model.canon puts one before any mixer"
        if "gate" not in cls.SITES:
            found["gated"] = "has no output gate"
        return found

    @nn.nowrap
    def local_reach(self) -> dict[str, float]:
        """See `sites.reach_of`."""
        return dict.fromkeys("qkv", reach_of_taps(self.kernel or self.canon))

    def __post_init__(self):
        for name in ("key_share", "value_share"):
            share = getattr(self, name)
            channels = _channels(share, self.width)
            if channels < 1 or channels % self.heads:
                raise UserError(
                    f"{OPTIONS}{name} is {share:g}: {share * self.width:g} channels, of width "
                    f"{self.width}, are not divisible by {self.heads} heads of at least 1 channel"
                )
        canon.check_alone(self)
        for name, reason in self.refused().items():
            if value := getattr(self, name):
                raise UserError(f"{OPTIONS}{name} is {value}: {type(self).__name__} {reason}")
        choose("backend", self.backend, BACKENDS)
        super().__post_init__()

    keys = property(lambda self: int(_channels(self.key_share, self.width)))
    values = property(lambda self: int(_channels(self.value_share, self.width)))
    """Numbers of channels of all heads."""

    def setup(self):
        declare(self)
        sizes = {"q": self.keys, "k": self.keys * self.steps, "v": self.values * self.steps}
        for name, size in sizes.items():
            setattr(self, f"{name}_proj", self.dense(size))
            if self.kernel:
                setattr(self, f"{name}_conv", ShortConvolution(size, self.kernel, use_bias=False))
        if self.canon:
            self.qkv_canon = canon.convolution(self, sum(sizes.values()))
        if self.gated:
            self.g_proj = self.dense(self.values)
        self.o_norm = nn.RMSNorm(epsilon=self.epsilon, use_fast_variance=False)
        self.o_proj = self.dense(self.width)

    def dense(self, features: int, use_bias: bool = False) -> nn.Dense:
        """A dense layer with the initialisation of the family."""
        return nn.Dense(features, use_bias=use_bias, kernel_init=initializers.dense)

    # The methods that subclasses override.

    def prepare(self, q: Array, k: Array, index: Array) -> tuple[Array, Array]:
        """Queries and keys as the state uses them; `index` are the positions of the tokens."""
        raise NotImplementedError

    def log_decay(self, x: Array, raw: Array) -> Array:
        """Logarithms of the decays, [..., heads, key or 1]; arguments as in `update`."""
        del raw
        return jnp.zeros((*x.shape[:-1], self.heads, 1), x.dtype)

    def update(self, x: Array, raw: Array, k: Array, v: Array, log_decay: Array) -> Update:
        """What a token does to the state: here it writes, and erases nothing.

        Args:
            x: Input, [..., width].
            raw: Keys before `prepare`, [..., heads, key].
            k: Keys after it.
            v: Values, [..., heads, value].
            log_decay: Logarithms of the decays.
        """
        del x, raw
        return Update(k, v, log_decay)

    def recur(self, q: Array, update: Update, positions: Array | None) -> Array:
        """Outputs o of the recurrence at some positions, through its sites."""
        return dplr_recurrence(self, q, update, self.backend, positions)

    def advance(self, matrix: Array, q_t: Array, update_t: Update) -> tuple[Array, Array]:
        """The next state and the output of one token."""
        return dplr_step(matrix, q_t, update_t)

    def output_gate(self, x: Array) -> Array:
        """Factor of the heads' outputs."""
        return jax.nn.silu(self.gate(self.g_proj(x)))

    def _project(self, x: Array, local: Local) -> list[Array]:
        """q, k and v by head of all tokens or of one, [batch, length, width]."""
        parts = canon.convolved(self, together(x, self.q_proj, self.k_proj, self.v_proj), local)
        found = []
        for name, h in zip("qkv", parts, strict=True):
            if self.kernel:
                (h,) = local(f"{name}_conv", [getattr(self, f"{name}_input")(h)])
                h = jax.nn.silu(h)
            axes = (self.steps, self.heads) if self.STEPPED and name != "q" else (self.heads,)
            found.append(getattr(self, name)(h.reshape(*h.shape[:-1], *axes, -1)))
        return found

    def _out(self, heads: Array, x: Array) -> Array:
        """Output projection of the norm of o, gated by x."""
        o = self.o_norm(heads).reshape(*heads.shape[:-2], -1)
        return self.o_proj(o * self.output_gate(x) if self.gated else o)

    def __call__(
        self,
        x: Float[Array, "batch length width"],
        positions: Int[Array, "batch queries"] | None = None,
    ) -> Float[Array, "batch positions width"]:
        """Mix all tokens at once; return the outputs at `positions`, or all if it is None."""
        q, raw, v = self._project(x, apply_to_all(self))
        index = jnp.broadcast_to(jnp.arange(x.shape[1]), x.shape[:2])
        q, k = self.prepare(q, raw, index)
        update = self.update(x, raw, k, v, passed_decay(self, self.log_decay(x, raw)))
        heads = self.head_output(self.recur(q, update, positions))
        return self._out(heads, at_positions(x, positions))

    def initial_state(self, batch: int, max_length: int) -> dict[str, Array]:
        """Empty state, whose size does not depend on `max_length`."""
        del max_length
        key, value = self.keys // self.heads, self.values // self.heads
        matrix = jnp.zeros((batch, self.heads, key, value))
        return {"matrix": matrix, "position": jnp.zeros((), jnp.int32)} | local_states(self, batch)

    def step(
        self, state: dict[str, Array], x_t: Float[Array, "batch width"]
    ) -> tuple[dict[str, Array], Float[Array, "batch width"]]:
        """Mix one token; return the next state and the output."""
        new = state | {"position": state["position"] + 1}
        q, raw, v = self._project(x_t[:, None], apply_to_one(self, new))
        index = jnp.broadcast_to(state["position"], (len(x_t), 1))
        q, k = self.prepare(q, raw, index)
        q, raw, k, v = (h[:, 0] for h in (q, raw, k, v))
        update = self.update(x_t, raw, k, v, self.log_decay(x_t, raw))
        new["matrix"], o = self.advance(state["matrix"], q, update)
        return new, self._out(o, x_t)
