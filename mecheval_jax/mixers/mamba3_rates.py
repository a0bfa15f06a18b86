"""Rates of decay in Mamba-3, of which its authors have had two forms.

    log a = -dt max(f(alpha), 1e-4)
    reciprocal:  f(r) = 1 + r, or 1 / (1 - r) if r < 0    (state-spaces/mamba, since June 2026)
    softplus:    f(r) = log(1 + exp(r))                   (before)

Their checkpoints have the same names and shapes, and do not say which form they were trained with.
"""

import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Float

SLOWEST = 1e-4
"""Smallest rate."""


def _reciprocal(r: Array) -> Array:
    return jnp.where(r > 0, 1 + r, 1 / (1 - jnp.minimum(r, 0)))


RATES = {"reciprocal": _reciprocal, "softplus": jax.nn.softplus}
"""Functions f, by name."""


def log_decay(
    alpha: Float[Array, "*axes heads"], dt: Float[Array, "*axes heads"], form: str
) -> Float[Array, "*axes heads"]:
    """Logarithms of the decays.

    Args:
        alpha: Part of the input projection that chooses the rate.
        dt: Step sizes.
        form: Name of a form in `RATES`.
    """
    return -jnp.maximum(RATES[form](alpha), SLOWEST) * dt
