"""The LSTM (Hochreiter and Schmidhuber 1997), with forget gates.

    i, f, g, o = W x[t] + U h[t-1] + b
    c <- sigmoid(f) c + sigmoid(i) tanh(g);   h = sigmoid(o) tanh(c);   y = h

The recurrence is not linear and has no parallel form, so all calls loop over tokens. All weights
are initially uniform on +-1/sqrt(width), as in PyTorch.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Float, Int
from mecheval_jax.mixers import initializers
from mecheval_jax.mixers.recurrence import STATE_SITES
from mecheval_jax.ops.mapping import over_tokens
from mecheval_jax.ops.positions import at_positions
from mecheval_jax.ops.precision import wide_type, widened
from mecheval_jax.sites import declare, rewrite_at, tokens_of


class LSTM(nn.Module):
    """An LSTM as a sequence mixer.

    Attributes:
        width: Number of channels of the residual stream and of the state.
    """

    width: int

    CUT = False
    SITES = {
        "gates": "W x + b: input, forget, cell and output gate before the state is added",
        "state": STATE_SITES["state"] + " [..., (c, h), width]",
    }

    @nn.nowrap
    def local_reach(self) -> dict[str, float]:
        """See `sites.reach_of`."""
        return {}

    def setup(self):
        declare(self)
        uniform = initializers.uniform(self.width**-0.5)
        self.in_proj = nn.Dense(4 * self.width, kernel_init=uniform, bias_init=uniform)
        self.recurrent = self.param("recurrent", uniform, (self.width, 4 * self.width))

    def _advance(self, state: Array, gates: Array, recurrent: Array) -> Array:
        """State [batch, (c, h), width] after a token, from the one before and W x + b."""
        c, h = state[:, 0], state[:, 1]
        i, f, g, o = jnp.split(gates + h @ recurrent, 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        return jnp.stack([c, jax.nn.sigmoid(o) * jnp.tanh(c)], axis=1).astype(state.dtype)

    def __call__(
        self,
        x: Float[Array, "batch length width"],
        positions: Int[Array, "batch queries"] | None = None,
    ) -> Float[Array, "batch positions width"]:
        """Mix all tokens in a loop; return the outputs at `positions`, or all if it is None."""
        gates = self.gates(self.in_proj(x))
        wide = wide_type(x)  # in less, small increments would be lost
        states = jax.ShapeDtypeStruct((*x.shape[:2], 2, self.width), wide)
        entry = self.state.checked_entry(states)

        recurrent = widened(self.recurrent)  # before the loop, which adds up its gradient

        def advance(state: Array, at_t: tuple) -> tuple[Array, Array]:
            token, gates_t = at_t
            state = rewrite_at(self._advance(state, gates_t, recurrent), entry, token)
            return state, state

        start = self.initial_state(len(x), x.shape[1]).astype(wide)
        states = over_tokens(advance, start, (gates,), (tokens_of(entry, x.shape[1]),))
        states = self.state(states, rewritten=True)
        return at_positions(states[:, :, 1], positions).astype(x.dtype)

    def initial_state(self, batch: int, max_length: int) -> Array:
        """Zeros for c and h."""
        del max_length
        return jnp.zeros((batch, 2, self.width))

    def step(
        self, state: Array, x_t: Float[Array, "batch width"]
    ) -> tuple[Array, Float[Array, "batch width"]]:
        """Mix one token; return the next state and the output."""
        state = self._advance(state, self.in_proj(x_t), self.recurrent)
        return state, state[:, 1]
