"""The stabiliser of exponential gates: a running maximum that fades.

    m[t] = max(log_decay[t] + m[t-1], x[t]),    m[0] = x[0]

so m[t] is the largest of x[s] + log_decay[s+1] + ... + log_decay[t], the logarithm of the largest
weight with which a token s <= t is found at t (Beck et al. 2024).
"""

import jax.numpy as jnp

from mecheval_jax.array_types import Array, Float
from mecheval_jax.ops.mapping import over_tokens

LOWEST = -1e30
"""Logarithm of nothing: e^LOWEST is 0, and LOWEST - LOWEST is not NaN as for minus infinity."""


def bounded_below(logarithms: Float[Array, "*axes"]) -> Float[Array, "*axes"]:
    """Logarithms of weights and decays, `LOWEST` in place of what is below it."""
    return jnp.maximum(logarithms, LOWEST)


def log_maximum(
    log_decay: Float[Array, "batch length heads"], x: Float[Array, "batch length heads"]
) -> Float[Array, "batch length heads"]:
    """All maxima m, by a loop over tokens."""

    def advance(m: Array, at_t: tuple[Array, Array]) -> tuple[Array, Array]:
        m = jnp.maximum(at_t[0] + m, at_t[1])
        return m, m

    rest = over_tokens(advance, x[:, 0], (log_decay[:, 1:], x[:, 1:]))
    return jnp.concatenate([x[:, :1], rest], axis=1)
