"""Retention (Sun et al. 2023).

    S <- a S + k v^T,   a = 1 - 2^(-5 - h) in head h
    y = W_o (RMSNorm(S^T q / sqrt(key)) * silu(W_g x))

q and k have rotary positions; values are twice as wide as the residual stream. See
`mixers.matrix_state`.
"""

import jax.numpy as jnp
import numpy as np

from mecheval_jax.array_types import Array
from mecheval_jax.errors import UserError
from mecheval_jax.mixers.canon import SITES as CANON_SITES
from mecheval_jax.mixers.matrix_state import SITES, MatrixStateMixer
from mecheval_jax.mixers.options import OPTIONS
from mecheval_jax.ops.rotary import rotary


class RetNet(MatrixStateMixer):
    """Linear attention with fixed decays; see `MatrixStateMixer` for the attributes."""

    value_share: float = 2.0
    canon: int = 0
    canon_bias: bool = True

    SITES = CANON_SITES | SITES

    def __post_init__(self):
        if self.keys < 2:
            raise UserError(
                f"{OPTIONS}key_share is {self.key_share:g}: of width {self.width} keys have "
                f"{self.keys} channels, no pair that rotary positions turn; take a greater width "
                "or key_share"
            )
        if self.keys < 2 * self.heads:
            raise UserError(
                f"{OPTIONS}heads is {self.heads}: of {self.keys} channels of keys a head has no "
                f"pair that rotary positions turn; take at most {self.keys // 2} heads"
            )
        super().__post_init__()

    def prepare(self, q: Array, k: Array, index: Array) -> tuple[Array, Array]:
        """Rotate both by their positions, and scale the queries by 1 / sqrt(key)."""
        return rotary(q, index) * q.shape[-1] ** -0.5, rotary(k, index)

    def log_decay(self, x: Array, raw: Array) -> Array:
        """Logarithms of the decays, log(1 - 2^(-5 - h)), which do not depend on x."""
        del raw
        decays = np.log1p(-(2.0 ** (-5 - np.arange(self.heads))))
        decays = jnp.asarray(decays, x.dtype)[(None,) * (x.ndim - 1)]
        return jnp.broadcast_to(decays, (*x.shape[:-1], self.heads))[..., None]
