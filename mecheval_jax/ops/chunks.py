"""Linear recurrences of a matrix, computed chunk by chunk: the WY form.

    S[t] = Diag(a[t]) S[t-1] + y[t] (S[t-1]^T x[t])^T + k[t] u[t]^T,    o[t] = S[t]^T q[t]

with S [key, value]. In a chunk that starts from S_0, let r[t] = S[t-1]^T x[t] be what x reads, and
X_k[t, s] = sum_key x[t] k[s] a[s+1] .. a[t-1] for s < t (`ops.triangular`), X_y likewise. Then

    (I - X_y) r = x a[1..t-1] S_0 + X_k u

and all that the chunk adds to the state is known: keys k and y with the values u and r. What q
reads of it is found like what x reads. These are matrix products, computed for all chunks at
once; only S is carried from one chunk to the next (Yang et al. 2024; Dao and Gu 2024). If there is
one chunk, there is no state at all.
"""

import math
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Float
from mecheval_jax.ops.triangular import decayed_products, inverse, sums_after, sums_before

if TYPE_CHECKING:
    from mecheval_jax.ops.dplr import Update

LONGEST = 64
"""Most tokens of a sequence that is one chunk."""

CHUNK = 32
"""Tokens of a chunk of a longer one."""


def chunk_of(length: int) -> int:
    """Tokens of a chunk of a sequence."""
    return length if length <= LONGEST else CHUNK


def split(
    x: Float[Array, "batch length heads *axes"], size: int
) -> Float[Array, "chunks batch heads c *axes"]:
    """Cut a sequence into chunks of `size` tokens; the last one is padded with zeros."""
    batch, length = x.shape[:2]
    chunks = -(-length // size)
    pad = [(0, 0), (0, chunks * size - length)] + [(0, 0)] * (x.ndim - 2)
    x = jnp.pad(x, pad).reshape(batch, chunks, size, *x.shape[2:])
    return jnp.moveaxis(jnp.moveaxis(x, 1, 0), 3, 2)


def join(
    x: Float[Array, "chunks batch heads c *axes"], length: int
) -> Float[Array, "batch length heads *axes"]:
    """Invert `split`: a sequence of `length` tokens."""
    x = jnp.moveaxis(jnp.moveaxis(x, 2, 3), 0, 1)
    return x.reshape(x.shape[0], -1, *x.shape[3:])[:, :length]


def chunked(
    q: Float[Array, "batch length heads key"], update: "Update", least: float = -math.inf
) -> Float[Array, "batch length heads value"]:
    """Outputs o, starting from a state of zeros.

    Args:
        q: Queries, which read the state after their token.
        update: What the tokens do to the state (`ops.dplr`).
        least: What no logarithm of a decay is below.
    """
    k, u, log_decay, x, y = update
    length, size = q.shape[1], chunk_of(q.shape[1])
    q, k, u, log_decay = (split(part, size) for part in (q, k, u, log_decay))
    identity, reads = jnp.eye(size, dtype=q.dtype)[None, None, None], jnp.exp(log_decay) * q

    # All that is read of S[t-1], by queries and by x, of all that the chunk has written.
    rows, keys = [reads], [k]
    if x is not None:
        rows.append(split(x, size))
    if y is not None:
        keys.append(split(y, size))
    found = decayed_products(*(jnp.concatenate(h, axis=-2) for h in (rows, keys)), log_decay, least)
    inner, across = (found[..., :size, :], found[..., size:, :])
    # Queries read what their own token has written as well.
    own = [identity * (q * key).sum(axis=-1)[..., None] for key in keys]
    inner, keys = inner + jnp.concatenate(own, axis=-1), jnp.concatenate(keys, axis=-2)

    # The values that are written if the chunk starts from zeros, and how they depend on the state
    # that it does start from.
    values, dependence = u, None
    if y is not None:
        solve = inverse(-across[..., size:])
        values = jnp.concatenate([u, solve @ (across[..., :size] @ u)], axis=-2)
        dependence = jnp.concatenate([jnp.zeros_like(solve), solve], axis=-2)
    elif x is not None:
        solve = inverse(across)
        values, dependence = solve @ u, -solve
    if length <= size:
        return join(inner @ values, length)
    start, end = (jnp.exp(sums(log_decay)) for sums in (sums_before, sums_after))
    if y is not None:
        end = jnp.concatenate([end, end], axis=-2)
    parts = [start * reads, end * keys, values, inner, jnp.exp(log_decay.sum(axis=-2))]
    parts += [] if dependence is None else [dependence @ (start * rows[1])]
    return join(carry(*parts), length)


def carry(
    reads: Float[Array, "chunks batch heads c key"],
    keys: Float[Array, "chunks batch heads writes key"],
    values: Float[Array, "chunks batch heads writes value"],
    inner: Float[Array, "chunks batch heads c writes"],
    decay: Float[Array, "chunks batch heads decayed"],
    dependence: Float[Array, "chunks batch heads writes key"] | None = None,
) -> Float[Array, "chunks batch heads c value"]:
    """Outputs of all chunks, with the state carried from chunk to chunk.

    Args:
        reads: Queries, decayed from the start of their chunk.
        keys: Keys that are written, decayed to the end of their chunk.
        values: Values that are written if the chunk starts from zeros.
        inner: Weights with which the outputs read the values of their chunk.
        decay: Decay over the whole chunk.
        dependence: Weights of the state at the start of the chunk in the values; None if they do
            not depend on it.
    """

    def advance(state: Array, chunk: tuple[Array, ...]) -> tuple[Array, Array]:
        reads, keys, values, inner, decay, *dependence = chunk
        for weights in dependence:
            values = values + weights @ state
        outputs = reads @ state + inner @ values
        return decay[..., None] * state + jnp.swapaxes(keys, -1, -2) @ values, outputs

    rows = (reads, keys, values, inner, decay)
    dtype = jnp.result_type(keys, values)
    start = jnp.zeros((*keys.shape[1:3], keys.shape[-1], values.shape[-1]), dtype)
    return jax.lax.scan(advance, start, rows if dependence is None else (*rows, dependence))[1]
