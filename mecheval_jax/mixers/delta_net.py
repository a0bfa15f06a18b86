"""DeltaNet (Yang et al. 2024a) and Gated DeltaNet (Yang et al. 2024b).

    q, k, v = silu(conv(projections of x)),   q = q / (|q| sqrt(key)),   k = k / |k|  (by head)
    beta = sigmoid(W_b x);   S <- a (I - beta k k^T) S + beta k v^T

and the rest as in `mixers.matrix_state`. DeltaNet has a = 1 and no output gate. Gated DeltaNet has
a = exp(-exp(A_log) softplus(W_a x + b)), an output gate, and values twice as wide. Its rates
exp(A_log) start uniform between 1 and 16, in the code of others (flash-linear-attention) between 0
and 16: here no head starts with a rate below 1. With negative eigenvalues beta is twice as large
(Grazzi et al. 2024).
"""

import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Float
from mecheval_jax.mixers import canon, initializers
from mecheval_jax.mixers.matrix_state import SITES, MatrixStateMixer
from mecheval_jax.mixers.recurrence import ERASE, STATE_SITES
from mecheval_jax.ops.dplr import Update

EPSILON = 1e-6

DELTA_SITES = {
    **canon.SITES,
    **{name: f"{what} by head, after convolution and silu" for name, what in canon.PARTS.items()},
    "beta": "share of the way that the state is moved towards the value",
    **STATE_SITES,
    "erase": ERASE,
    "head_output": SITES["head_output"],
    "gate": SITES["gate"],
}


def unit(x: Float[Array, "*axes channels"]) -> Float[Array, "*axes channels"]:
    """Scale vectors along the last axis to norm 1; zeros stay zeros."""
    return x * jax.lax.rsqrt((x * x).sum(axis=-1, keepdims=True) + EPSILON)


class DeltaNet(MatrixStateMixer):
    """The delta rule without decay; see `MatrixStateMixer` for the other attributes.

    Attributes:
        negative_eigenvalues: Whether beta goes up to 2, so that a token can turn what the state
            returns for its key into its negative.
    """

    kernel: int = 4
    canon: int = 0
    canon_bias: bool = True
    gated: bool = False
    negative_eigenvalues: bool = False

    CONVOLVED = True
    SITES = {name: text for name, text in DELTA_SITES.items() if name not in ("decay", "gate")}

    def setup(self):
        super().setup()
        self.b_proj = self.dense(self.shares)

    @property
    def shares(self) -> int:
        """Number of shares beta of a token, one for each head."""
        return self.heads

    def prepare(self, q: Array, k: Array, index: Array) -> tuple[Array, Array]:
        """Scale both to norm 1, and the queries by 1 / sqrt(key) too."""
        del index
        return unit(q) * q.shape[-1] ** -0.5, unit(k)

    def share(self, logits: Array) -> Array:
        """The sigmoid, or twice that with negative eigenvalues."""
        return jax.nn.sigmoid(logits) * (2 if self.negative_eigenvalues else 1)

    def update(self, x: Array, raw: Array, k: Array, v: Array, log_decay: Array) -> Update:
        """Move what the decayed state returns for k by a share beta towards v."""
        del raw
        beta = self.beta(self.share(self.b_proj(x)))[..., None]
        return Update(k, beta * v, log_decay, x=beta * jnp.exp(log_decay) * k)


class GatedDeltaNet(DeltaNet):
    """The delta rule with decay; see `DeltaNet` for the attributes."""

    value_share: float = 2.0
    gated: bool = True

    SITES = DELTA_SITES
    WITHOUT_DECAY = ("A_log", "dt_bias")
    SLOWEST = 1.0
    """Least rate of the decays at the start, 0 in the authors' code; the greatest is 16."""

    def setup(self):
        super().setup()
        self.a_proj = self.dense(self.heads)
        rates = initializers.log_uniform_rates(self.SLOWEST, 16)
        self.A_log = self.param("A_log", rates, (self.heads,))
        self.dt_bias = self.param("dt_bias", initializers.time_step_bias, (self.heads,))

    def log_decay(self, x: Array, raw: Array) -> Array:
        """Logarithm of the gate, -exp(A_log) softplus(W_a x + b)."""
        del raw
        lead = (None,) * (x.ndim - 1)
        dt = jax.nn.softplus(self.a_proj(x) + self.dt_bias[lead])
        return -(jnp.exp(self.A_log)[lead] * dt)[..., None]
