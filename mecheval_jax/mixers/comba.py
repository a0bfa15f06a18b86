"""Comba (arXiv 2506.02475).

As Gated DeltaNet (`mixers.delta_net`), but the state is read, before it decays, along a key p of
its own, and the query is corrected by it:

    p = sigmoid(decay) k;   q = unit(q - D p) / sqrt(key);   k = unit(k);   p = unit(p)
    S <- a S + k beta (v - S^T p)^T        (S^T p of the state before the token)

The output gate is a sigmoid. As in the kernels of fla-org/flash-linear-attention p is normalised,
so that ``decay`` acts on the query alone.
"""

import jax
from flax import linen as nn

from mecheval_jax.array_types import Array
from mecheval_jax.mixers import initializers
from mecheval_jax.mixers.delta_net import GatedDeltaNet, unit
from mecheval_jax.ops.dplr import Update
from mecheval_jax.ops.precision import beside


class Comba(GatedDeltaNet):
    """The delta rule that reads the state before its decay; see `DeltaNet` for the attributes."""

    WITHOUT_DECAY = ("A_log", "dt_bias", "D")
    SLOWEST = initializers.ALMOST_ZERO

    def setup(self):
        super().setup()
        self.decay_logit = self.param("decay_logit", nn.initializers.ones, (self.heads,))
        self.D = self.param("D", nn.initializers.ones, (self.heads,))

    def _erased(self, k: Array) -> Array:
        """The key p before it is normalised, of a key k likewise."""
        return beside(jax.nn.sigmoid(self.decay_logit)[:, None], k) * k

    def prepare(self, q: Array, k: Array, index: Array) -> tuple[Array, Array]:
        """Correct the queries by p, and scale both to norm 1."""
        corrected = q - beside(self.D[:, None], q) * self._erased(k)
        return super().prepare(corrected, k, index)

    def update(self, x: Array, raw: Array, k: Array, v: Array, log_decay: Array) -> Update:
        """Write for k a share beta of what p is not answered of v by the state before the token."""
        beta = self.beta(self.share(self.b_proj(x)))[..., None]
        return Update(k, beta * v, log_decay, x=beta * unit(self._erased(raw)))

    def output_gate(self, x: Array) -> Array:
        """Factor of the heads' outputs."""
        return jax.nn.sigmoid(self.gate(self.g_proj(x)))
