"""DeltaNet (Yang et al. 2024a) and Gated DeltaNet (Yang et al. 2024b).

    q, k, v = silu(conv(projections of x)),   q = q / (|q| sqrt(key)),   k = k / |k|  (by head)
    beta = sigmoid(W_b x);   S <- a (I - beta k k^T) S + beta k v^T

and the rest as in `mixers.matrix_state`. DeltaNet has a = 1 and no output gate. Gated DeltaNet has
a = exp(-exp(A_log) softplus(W_a x + b)), an output gate, and values twice as wide.
"""

import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array
from mecheval_jax.mixers import initializers
from mecheval_jax.mixers.matrix_state import DELTA_SITES, SITES, MatrixStateMixer

EPSILON = 1e-6


def unit(x: Array) -> Array:
    """Scale vectors along the last axis to norm 1; zeros stay zeros."""
    return x * jax.lax.rsqrt((x * x).sum(axis=-1, keepdims=True) + EPSILON)


class DeltaNet(MatrixStateMixer):
    """The delta rule without decay; see `MatrixStateMixer` for the attributes."""

    kernel: int = 4
    gated: bool = False

    SITES = DELTA_SITES

    def setup(self):
        super().setup()
        self.b_proj = self.dense(self.heads)

    def prepare(self, q: Array, k: Array, index: Array) -> tuple[Array, Array]:
        """Scale both to norm 1, and the queries by 1 / sqrt(key) too."""
        del index
        return unit(q) * q.shape[-1] ** -0.5, unit(k)

    def strength(self, x: Array) -> Array:
        """Beta, the share of the way that the state is moved towards the value."""
        return jax.nn.sigmoid(self.b_proj(x))


class GatedDeltaNet(DeltaNet):
    """The delta rule with decay; see `MatrixStateMixer` for the attributes."""

    value_share: float = 2.0
    gated: bool = True

    SITES = DELTA_SITES | {"decay": SITES["decay"], "gate": SITES["gate"]}

    def setup(self):
        super().setup()
        self.a_proj = self.dense(self.heads)
        self.A_log = self.param("A_log", initializers.log_uniform_rates(1, 16), (self.heads,))
        self.dt_bias = self.param("dt_bias", initializers.time_step_bias(), (self.heads,))

    def log_decay(self, x: Array) -> Array:
        """Logarithm of the gate, -exp(A_log) softplus(W_a x + b)."""
        lead = (None,) * (x.ndim - 1)
        dt = jax.nn.softplus(self.a_proj(x) + self.dt_bias[lead])
        return -(jnp.exp(self.A_log)[lead] * dt)[..., None]
