"""Base of the mixers whose state is a matrix: DeltaNet, Gated DeltaNet, GLA and RetNet.

    q, k, v = projections of x (in the delta nets: silu(conv(projection)))
    S <- decay S + k v^T,  or by the delta rule  S <- decay (I - beta k k^T) S + beta k v^T
    o = S^T q;    y = W_o (RMSNorm(o) [* silu(W_g x)])

with a state S [key, value] per head, and one norm scale shared by the heads. Subclasses define
q, k, decay and beta.
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Float, Int
from mecheval_jax.errors import UserError, choose
from mecheval_jax.mixers import initializers
from mecheval_jax.mixers.recurrence import STATE_SITES, matrix_recurrence
from mecheval_jax.mixers.short_convolution import ShortConvolution
from mecheval_jax.ops.delta_rule import delta_rule, delta_rule_states, delta_rule_step
from mecheval_jax.ops.linear_attention import BACKENDS, linear_attention_step, read
from mecheval_jax.ops.positions import at_positions
from mecheval_jax.sites import declare

EPSILON = 1e-5
SITES = {
    "q": "queries by head",
    "k": "keys by head",
    "v": "values by head",
    "decay": STATE_SITES["decay"],
    "write": STATE_SITES["write"],
    "state": STATE_SITES["state"],
    "head_output": "output of each head, before its norm",
    "gate": "output gate, before its silu",
}
DELTA_SITES = {
    "q_input": "queries before their convolution",
    "k_input": "keys before their convolution",
    "v_input": "values before their convolution",
    "q": "queries by head, after convolution and silu",
    "k": "keys by head, after convolution and silu",
    "v": "values by head, after convolution and silu",
    "beta": "share of the way that the state is moved towards the value",
    "state": STATE_SITES["state"],
    "head_output": SITES["head_output"],
}


class MatrixStateMixer(nn.Module):
    """Base of the family; a subclass overrides `prepare`, `log_decay` and `strength`.

    Attributes:
        width: Number of channels of the residual stream.
        heads: Number of heads.
        backend: Backend of `ops.linear_attention` or `ops.delta_rule`.
        key_share: Number of channels of all keys, as a share of the width.
        value_share: Number of channels of all values, as a share of the width.
        kernel: Number of taps of the short convolutions; 0 for none.
        gated: Whether there is an output gate.
    """

    width: int
    heads: int = 1
    backend: str = "auto"
    key_share: float = 1.0
    value_share: float = 1.0
    kernel: int = 0
    gated: bool = True

    @nn.nowrap
    def local_reach(self) -> dict[str, float]:
        """See `sites.reach_of`."""
        return dict.fromkeys("qkv", self.kernel - 1) if self.kernel else {}

    def __post_init__(self):
        for share in (self.key_share, self.value_share):
            if share * self.width % self.heads:
                raise UserError(
                    f"width {self.width} gives {share * self.width:g} channels of keys or values, "
                    f"which are not divisible by {self.heads} heads"
                )
        if self.kernel and "q_input" not in self.SITES:
            raise UserError(
                f"kernel is {self.kernel}: {type(self).__name__} has no short convolutions; "
                "model.canon puts one before any mixer"
            )
        if self.gated and "gate" not in self.SITES:
            raise UserError(f"gated is True: {type(self).__name__} has no output gate")
        choose("backend", self.backend, BACKENDS)
        super().__post_init__()

    def setup(self):
        declare(self)
        key, value = int(self.key_share * self.width), int(self.value_share * self.width)
        for name, size in (("q", key), ("k", key), ("v", value)):
            setattr(self, f"{name}_proj", self.dense(size))
            if self.kernel:
                setattr(self, f"{name}_conv", ShortConvolution(size, self.kernel, use_bias=False))
        if self.gated:
            self.g_proj = self.dense(value)
        self.o_norm = nn.RMSNorm(epsilon=EPSILON, use_fast_variance=False)
        self.o_proj = self.dense(self.width)

    def dense(self, features: int, use_bias: bool = False) -> nn.Dense:
        """A dense layer with the initialisation of the family."""
        return nn.Dense(features, use_bias=use_bias, kernel_init=initializers.dense)

    # The methods that subclasses override.

    def prepare(self, q: Array, k: Array, index: Array) -> tuple[Array, Array]:
        """Queries and keys as the state uses them.

        Args:
            q: Queries, [batch, length, heads, key].
            k: Keys, of the same shape.
            index: Positions of the tokens, [batch, length].
        """
        raise NotImplementedError

    def log_decay(self, x: Array) -> Array:
        """Logarithms of the decays, [..., heads, key or 1]."""
        return jnp.zeros((*x.shape[:-1], self.heads, 1), x.dtype)

    def strength(self, x: Array) -> Array | None:
        """Beta of the delta rule, [..., heads]; None for plain linear attention."""
        del x
        return None

    def _project(self, x: Array, convolve: Callable[[str, Array], Array]) -> list[Array]:
        """q, k and v by head; `convolve` takes the name of a convolution and its input."""
        parts = []
        for name in "qkv":
            h = getattr(self, f"{name}_proj")(x)
            if self.kernel:
                h = jax.nn.silu(convolve(f"{name}_conv", getattr(self, f"{name}_input")(h)))
            parts.append(getattr(self, name)(h.reshape(*h.shape[:-1], self.heads, -1)))
        return parts

    def _mix(self, q: Array, k: Array, v: Array, log_decay: Array, beta: Array | None) -> Array:
        """Outputs o of the recurrence, through the sites of its decay, write and state."""
        if beta is None:
            return matrix_recurrence(self, q, k, v, log_decay, self.backend)
        sites = [getattr(self, name) for name in ("decay", "state") if name in self.SITES]
        if any(site.in_use() for site in sites):
            decay = jnp.exp(log_decay)
            decay = self.decay(decay) if "decay" in self.SITES else decay
            states = delta_rule_states(k, v, beta, decay, self.state.entry(), self.backend)
            states = self.state(states, rewritten=True)
            if any(site.replaced() for site in sites):
                return read(states, q)
        return delta_rule(q, k, v, beta, log_decay, self.backend)

    def _out(self, heads: Array, x: Array) -> Array:
        """Output projection of the norm of o, gated by x."""
        o = self.o_norm(heads).reshape(*heads.shape[:-2], -1)
        return self.o_proj(o * jax.nn.silu(self.gate(self.g_proj(x))) if self.gated else o)

    def __call__(
        self,
        x: Float[Array, "batch length width"],
        positions: Int[Array, "batch queries"] | None = None,
    ) -> Float[Array, "batch positions width"]:
        """Mix all tokens at once; return the outputs at `positions`, or all if it is None."""
        q, k, v = self._project(x, lambda name, h: getattr(self, name)(h))
        index = jnp.broadcast_to(jnp.arange(x.shape[1]), x.shape[:2])
        q, k = self.prepare(q, k, index)
        beta = self.strength(x)
        heads = self._mix(q, k, v, self.log_decay(x), None if beta is None else self.beta(beta))
        return self._out(
            self.head_output(at_positions(heads, positions)), at_positions(x, positions)
        )

    def initial_state(self, batch: int, max_length: int) -> dict[str, Array]:
        """Empty state, whose size does not depend on `max_length`."""
        del max_length
        key, value = (
            int(share * self.width) // self.heads for share in (self.key_share, self.value_share)
        )
        state = {
            "matrix": jnp.zeros((batch, self.heads, key, value)),
            "position": jnp.zeros((), jnp.int32),
        }
        if self.kernel:
            convolutions = (f"{name}_conv" for name in "qkv")
            state |= {name: getattr(self, name).initial_state(batch) for name in convolutions}
        return state

    def step(
        self, state: dict[str, Array], x_t: Float[Array, "batch width"]
    ) -> tuple[dict[str, Array], Float[Array, "batch width"]]:
        """Mix one token; return the next state and the output."""
        new = {"position": state["position"] + 1}

        def convolve(name: str, h: Array) -> Array:
            new[name], y = getattr(self, name).step(state[name], h)
            return y

        q, k, v = self._project(x_t, convolve)
        index = jnp.broadcast_to(state["position"], (len(x_t), 1))
        q, k = (h[:, 0] for h in self.prepare(q[:, None], k[:, None], index))
        matrix, log_decay, beta = state["matrix"], self.log_decay(x_t), self.strength(x_t)
        if beta is None:
            new["matrix"], o = linear_attention_step(matrix, q, k, v, log_decay)
        else:
            new["matrix"], o = delta_rule_step(matrix, q, k, v, beta, log_decay)
        return new, self._out(o, x_t)
