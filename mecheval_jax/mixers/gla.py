"""Gated linear attention (Yang et al. 2024).

    S <- diag(a) S + k v^T,   a = sigmoid(W_2 W_1 x + b)^(1/16)   (one decay per key channel)
    y = W_o (RMSNorm(S^T q / sqrt(key)) * silu(W_g x))

Keys and queries are half as wide as the residual stream. See `mixers.matrix_state`.
"""

import jax

from mecheval_jax.array_types import Array
from mecheval_jax.mixers.canon import SITES as CANON_SITES
from mecheval_jax.mixers.matrix_state import SITES, MatrixStateMixer

TEMPERATURE = 16.0
"""Degree of the root that moves the decays towards 1."""


class GatedLinearAttention(MatrixStateMixer):
    """Linear attention with one decay per key channel; see `MatrixStateMixer`.

    Attributes:
        rank: Inner width of the projection that gives the decays.
    """

    key_share: float = 0.5
    rank: int = 16
    canon: int = 0
    canon_bias: bool = True

    SITES = CANON_SITES | SITES

    def setup(self):
        super().setup()
        self.decay_down = self.dense(self.rank)
        self.decay_up = self.dense(self.keys, use_bias=True)

    def prepare(self, q: Array, k: Array, index: Array) -> tuple[Array, Array]:
        """Scale the queries by 1 / sqrt(key)."""
        del index
        return q * q.shape[-1] ** -0.5, k

    def log_decay(self, x: Array, raw: Array) -> Array:
        """Logarithms of the decays, log sigmoid(W_2 W_1 x + b) / 16."""
        del raw
        logits = self.decay_up(self.decay_down(x))
        return jax.nn.log_sigmoid(logits.reshape(*x.shape[:-1], self.heads, -1)) / TEMPERATURE
