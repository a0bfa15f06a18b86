"""Gated DeltaProduct (arXiv 2502.10297): several steps of the delta rule a token.

As `mixers.delta_net`, with n keys k_j, values v_j and strengths beta_j of every token:

    S <- a S;   for j = 1 .. n:  S <- S + k_j beta_j (v_j - S^T k_j)^T;   o = S^T q

With beta = 2 the steps are reflections, and a product of n of them is an orthogonal map that
differs from the identity by a map of rank at most n. Channels of the projections of k, v and beta
are laid out (step, head, channel), and the sites k, v, beta, erase and write are [batch, length,
step, heads, ...].
"""

import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array
from mecheval_jax.mixers import initializers
from mecheval_jax.mixers.delta_net import DeltaNet, GatedDeltaNet
from mecheval_jax.mixers.recurrence import read_states
from mecheval_jax.ops.dplr import Update, dplr, dplr_states, dplr_step


class GatedDeltaProduct(GatedDeltaNet):
    """Steps of the delta rule between two decays; see `DeltaNet` for the other attributes.

    Attributes:
        steps: Number of steps n of a token.
        forget_gate: Whether the state decays.
    """

    steps: int = 2
    forget_gate: bool = True
    negative_eigenvalues: bool = True

    STEPPED = True
    CUT = False
    SLOWEST = initializers.ALMOST_ZERO

    @property
    def shares(self) -> int:
        """Number of shares beta of a token, one for each step and head."""
        return self.steps * self.heads

    def setup(self):
        self._decaying.setup(self)

    @property
    def _decaying(self) -> type[DeltaNet]:
        """The class whose decay this is: without a forget gate there are no parameters of it."""
        return GatedDeltaNet if self.forget_gate else DeltaNet

    def log_decay(self, x: Array, raw: Array) -> Array:
        """Logarithm of the gate; zeros without one."""
        return self._decaying.log_decay(self, x, raw)

    def update(self, x: Array, raw: Array, k: Array, v: Array, log_decay: Array) -> Update:
        """The steps of a token, [..., step, heads, channels]; the state decays before the first."""
        del raw
        beta = self.beta(self.share(self.b_proj(x)).reshape(k.shape[:-1]))[..., None]
        log_decay = log_decay[..., None, :, :]
        rest = jnp.zeros((*k.shape[:-3], self.steps - 1, self.heads, 1), log_decay.dtype)
        log_decay = jnp.concatenate([log_decay, rest], axis=-3)
        return Update(k, beta * v, log_decay, x=beta * jnp.exp(log_decay) * k)

    def recur(self, q: Array, update: Update, positions: Array | None) -> Array:
        """Outputs o after the last step of each token, through the sites of the recurrence."""
        sites = (self.write, self.erase, self.state)
        if any(site.in_use() for site in sites):
            # All steps of a token as one: S <- M S + W.
            decay, identity = update.decay()[:, :, 0], jnp.eye(q.shape[-1], dtype=q.dtype)
            diagonal = decay * identity[None, None, None]
            erase, write = self.erase(update.erase()), self.write(update.write())
            M, W = diagonal + erase[:, :, 0], write[:, :, 0]
            for j in range(1, self.steps):
                M, W = (h + erase[:, :, j] @ h for h in (M, W))
                W = W + write[:, :, j]
            states = dplr_states(decay, M - diagonal, W, self.state.checked_entry(W), self.backend)
            states = self.state(states, rewritten=True)
            if any(site.replaced() for site in sites):
                return read_states(states, q, positions)
        in_turn = jax.tree.map(lambda h: h.reshape(h.shape[0], -1, *h.shape[3:]), update)
        last = (jnp.arange(in_turn.k.shape[1]) + 1) % self.steps == 0
        queries = jnp.where(last[None, :, None, None], jnp.repeat(q, self.steps, axis=1), 0)
        if positions is not None:
            ends = (positions + 1) * self.steps - 1
            return dplr(queries, in_turn, self.backend, positions=ends)
        return dplr(queries, in_turn, self.backend)[:, self.steps - 1 :: self.steps]

    def advance(self, matrix: Array, q_t: Array, update_t: Update) -> tuple[Array, Array]:
        """The next state and the output of one token."""
        steps = [jax.tree.map(lambda h, j=j: h[:, j], update_t) for j in range(self.steps)]
        for step in steps[:-1]:
            matrix, _ = dplr_step(matrix, q_t, step)
        return dplr_step(matrix, q_t, steps[-1])
