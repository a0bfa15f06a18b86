"""Linear attention with decay: the recurrence of SSD (Mamba-2), GLA and RetNet.

    S[t] = diag(a[t]) S[t-1] + k[t] v[t]^T,    o[t] = S[t]^T q[t],    S [key, value]

a[t] = exp(log_decay[t]) is one number per head (Mamba-2 and RetNet; the state space dual of Dao
and Gu 2024) or one per key channel (gated linear attention, Yang et al. 2024).

Backends: ``sequential`` (``lax.scan``) and ``chunked`` (`ops.chunks`).
"""

import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Float
from mecheval_jax.errors import choose
from mecheval_jax.ops import chunks
from mecheval_jax.ops.precision import in_float32

BACKENDS = ("auto", "sequential", "chunked")


@in_float32
def linear_attention(
    q: Float[Array, "batch length heads key"],
    k: Float[Array, "batch length heads key"],
    v: Float[Array, "batch length heads value"],
    log_decay: Float[Array, "batch length heads decayed"],
    backend: str = "auto",
) -> Float[Array, "batch length heads value"]:
    """Outputs o of linear attention, starting from a state of zeros.

    Args:
        q: Queries, which read the state.
        k: Keys, the directions in which values are written.
        v: Values that are written.
        log_decay: Logarithms of the decays, at most 0; the last axis has size key, or 1.
        backend: ``auto`` (chunked), ``sequential`` or ``chunked``.

    Raises:
        UserError: If the backend is unknown.
    """
    if choose("backend", backend, BACKENDS) != "sequential":
        parts = [chunks.split(x) for x in (q, k, v)]
        return chunks.join(chunks.carry(*parts, chunks.decays(chunks.split(log_decay))), q.shape[1])

    def advance(state: Array, at_t: tuple[Array, ...]) -> tuple[Array, Array]:
        return linear_attention_step(state, *at_t)

    start = jnp.zeros((q.shape[0], q.shape[2], q.shape[3], v.shape[3]), v.dtype)
    by_time = tuple(jnp.moveaxis(x, 1, 0) for x in (q, k, v, log_decay))
    return jnp.moveaxis(jax.lax.scan(advance, start, by_time)[1], 0, 1)


def linear_attention_step(
    state: Float[Array, "batch heads key value"],
    q_t: Float[Array, "batch heads key"],
    k_t: Float[Array, "batch heads key"],
    v_t: Float[Array, "batch heads value"],
    log_decay_t: Float[Array, "batch heads decayed"],
) -> tuple[Float[Array, "batch heads key value"], Float[Array, "batch heads value"]]:
    """Process one token; return the next state and the output."""
    state = jnp.exp(log_decay_t)[..., None] * state + k_t[..., None] * v_t[..., None, :]
    return state, read(state, q_t)


def read(
    state: Float[Array, "*axes key value"], q: Float[Array, "*axes key"]
) -> Float[Array, "*axes value"]:
    """Read each state with its query, S^T q."""
    return jnp.einsum("...kv,...k->...v", state, q)
