"""Reading of slots by their keys: which slots of a memory the queries ask for.

    K[t] = Diag(a[t]) K[t-1] + w[t] k[t]^T,    s[t] = K[t] q[t]

with K [slot, key]. Each slot has a decay a and a share w of its own, so that what decays is the
axis of the results. (In `ops.dplr` it is the axis along which the queries read.) In a chunk,
s[t, m] is the sum over earlier tokens of q[t] k[s] times w[s, m], decayed for each slot
(`ops.triangular`): a matrix product, and no K. Between chunks K is carried (Zhang et al. 2024).

Backends: ``sequential`` (``lax.scan``) and ``chunked``.
"""

import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Float
from mecheval_jax.errors import choose
from mecheval_jax.ops.chunks import chunk_of, join, split
from mecheval_jax.ops.dplr import BACKENDS
from mecheval_jax.ops.mapping import over_tokens
from mecheval_jax.ops.precision import in_float32
from mecheval_jax.ops.triangular import decayed_sums, sums_after, sums_before


@in_float32
def slot_scores(
    q: Float[Array, "batch length heads key"],
    k: Float[Array, "batch length heads key"],
    share: Float[Array, "batch length heads slots"],
    log_decay: Float[Array, "batch length heads slots"],
    backend: str = "auto",
) -> Float[Array, "batch length heads slots"]:
    """Scores s of all slots, which are zeros before the first token.

    Args:
        q: Queries, which read the slots after their token.
        k: Keys that are written.
        share: Shares w with which a key is written into each slot.
        log_decay: Logarithms of the decays a, at most 0.
        backend: ``auto`` (chunked), ``sequential`` or ``chunked``.

    Raises:
        UserError: If the backend is unknown.
    """
    if choose("backend", backend, BACKENDS) == "sequential":
        return _one_by_one(q, k, share, log_decay)
    length, size = q.shape[1], chunk_of(q.shape[1])
    q, k, share, log_decay = (split(part, size) for part in (q, k, share, log_decay))
    decay, products = jnp.exp(log_decay), q @ jnp.swapaxes(k, -1, -2)
    own = (q * k).sum(axis=-1)[..., None] * share
    inner = own + decay * decayed_sums(products, share, log_decay)
    if length <= size:
        return join(inner, length)

    def advance(slots: Array, chunk: tuple[Array, ...]) -> tuple[Array, Array]:
        q, k, start, end, over, inner = chunk
        scores = inner + start * (q @ jnp.swapaxes(slots, -1, -2))
        return over[..., None] * slots + jnp.swapaxes(end, -1, -2) @ k, scores

    start = jnp.exp(sums_before(log_decay)) * decay
    end = jnp.exp(sums_after(log_decay)) * share
    over = jnp.exp(log_decay.sum(axis=-2))
    empty = jnp.zeros((*k.shape[1:3], share.shape[-1], k.shape[-1]), k.dtype)
    chunks = (q, k, start, end, over, inner)
    return join(jax.lax.scan(advance, empty, chunks)[1], length)


def _one_by_one(q: Array, k: Array, share: Array, log_decay: Array) -> Array:
    """`slot_scores`, token by token."""

    def advance(slots: Array, at_t: tuple[Array, ...]) -> tuple[Array, Array]:
        q, k, share, log_decay = at_t
        written = share[..., None] * k[..., None, :]
        slots = jnp.exp(log_decay)[..., None] * slots + written
        return slots, (slots @ q[..., None])[..., 0]

    empty = jnp.zeros((*k[:, 0].shape[:-1], share.shape[-1], k.shape[-1]), k.dtype)
    return over_tokens(advance, empty, (q, k, share, log_decay))
