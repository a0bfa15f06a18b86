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

from mecheval_jax.array_types import Array, Float, Int
from mecheval_jax.ops.inverses import inverse_of_unit_lower
from mecheval_jax.ops.triangular import (
    decayed_products,
    products_up_to,
    sums_after,
    sums_before,
)

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
    rows = None if x is None else split(x, size)
    keys = k if y is None else jnp.concatenate([k, split(y, size)], axis=-2)
    inner, across = products_up_to(q, rows, keys, log_decay, least)
    values, dependence = _written(u, across)
    if length <= size:
        return join(inner @ values, length)
    start, end = (jnp.exp(sums(log_decay)) for sums in (sums_before, sums_after))
    if y is not None:
        end = jnp.concatenate([end, end], axis=-2)
    reads = start * (jnp.exp(log_decay) * q)
    parts = [reads, end * keys, values, inner, jnp.exp(log_decay.sum(axis=-2))]
    if rows is not None and dependence is not None:
        parts.append(dependence @ (start * rows))
    return join(carry(*parts), length)


def _written(
    u: Float[Array, "*axes c value"], across: Float[Array, "*axes c writes"] | None
) -> tuple[Float[Array, "*axes writes value"], Float[Array, "*axes writes c"] | None]:
    """Values that a chunk writes that starts from zeros, and how they depend on another start.

    Args:
        u: Values that are written whatever the state is.
        across: What x reads of every key of the chunk; None if there is no x.
    """
    if across is None:
        return u, None
    size = u.shape[-2]
    if across.shape[-1] == size:
        solve = inverse_of_unit_lower(across)
        return solve @ u, -solve
    solve = inverse_of_unit_lower(-across[..., size:])
    values = jnp.concatenate([u, solve @ (across[..., :size] @ u)], axis=-2)
    return values, jnp.concatenate([jnp.zeros_like(solve), solve], axis=-2)


def read_once(
    q: Float[Array, "batch 1 heads key"],
    update: "Update",
    positions: Int[Array, "batch 1"],
    least: float = -math.inf,
) -> Float[Array, "batch 1 heads value"]:
    """The output at one token of each sequence, which is read as a single chunk.

    It is the sum of the values that are written up to the token, each weighted by what q reads of
    its key after the decays between them. Arguments are as in `chunked`, q that of the token.
    """
    length = update.k.shape[1]
    k, u, log_decay = (split(h, length)[0] for h in update[:3])
    x, y = (h if h is None else split(h, length)[0] for h in update[3:])
    keys = k if y is None else jnp.concatenate([k, y], axis=-2)
    across = None if x is None else decayed_products(x, keys, log_decay, least)
    values, _ = _written(u, across)
    until = (jnp.arange(length)[None] <= positions)[:, None, :, None]
    decays = jnp.exp(_sums_after(jnp.where(until, log_decay, 0)))
    left = jnp.where(until, decays, 0)  # of what each token has written, at the token that reads
    left = jnp.concatenate([left] * (keys.shape[-2] // length), axis=-2)
    read = jnp.moveaxis(q, 1, 3)
    weights = left * (keys @ read) if left.shape[-1] == 1 else (left * keys) @ read
    return jnp.moveaxis(jnp.swapaxes(weights, -1, -2) @ values, 2, 1)


def _sums_after(x: Float[Array, "*axes length channels"]) -> Float[Array, "*axes length channels"]:
    """`sums_after` of a sequence of any length, whose running sums take less than its square."""
    if x.shape[-2] <= LONGEST:
        return sums_after(x)
    sums = jax.lax.cumsum(x, axis=x.ndim - 2, reverse=True)
    return jnp.pad(sums[..., 1:, :], [(0, 0)] * (x.ndim - 2) + [(0, 1), (0, 0)])


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
