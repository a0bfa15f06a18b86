"""Linear recurrences of a matrix, computed chunk by chunk.

    S[t] = diag(a[t]) S[t-1] + k[t] u[t]^T,    o[t] = S[t]^T q[t],    S [key, value]

In a chunk of c tokens that starts from S_0, with D[t, s] the sum of log a from s+1 to t,

    o[t] = (q[t] a[1..t])^T S_0 + sum_{s <= t} (q[t] exp(D[t, s]) . k[s]) u[s]

The sums within the chunks are matrix products, computed for all chunks at once; only S is
carried from one chunk to the next (Dao and Gu 2024; Yang et al. 2024). Logarithms are summed
over each span separately, because differences of one running sum would lose all digits beside
a decay of almost 0. They are masked before the exponential, which keeps gradients finite.

Time of value and gradient of a layer of width 64 on 2 CPU cores, loop over tokens / chunks:

=================  ===================  ====================
mixer              batch 32, length 35  batch 32, length 128
=================  ===================  ====================
Mamba-2            154 / 57 ms          534 / 145 ms
DeltaNet           79 / 15 ms           360 / 60 ms
Gated DeltaNet     185 / 35 ms          695 / 110 ms
GLA                42 / 19 ms           205 / 57 ms
RetNet             107 / 13 ms          394 / 60 ms
=================  ===================  ====================

``auto`` therefore means chunks at every length. Accelerators, where the depth of the loop should
matter more, were not measured. Chunks of 16, 32 and 64 tokens take the same time within 20 % if a
head has one decay; with one decay per key channel, 16 tokens are 3 times faster than 32.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Float

CHUNK = 16
"""Tokens of a chunk."""


def split(
    x: Float[Array, "batch length heads *axes"],
) -> Float[Array, "chunks batch heads c *axes"]:
    """Cut a sequence into chunks of `CHUNK` tokens; the last one is padded with zeros."""
    batch, length = x.shape[:2]
    chunks = -(-length // CHUNK)
    pad = [(0, 0), (0, chunks * CHUNK - length)] + [(0, 0)] * (x.ndim - 2)
    x = jnp.pad(x, pad).reshape(batch, chunks, CHUNK, *x.shape[2:])
    return jnp.moveaxis(jnp.moveaxis(x, 1, 0), 3, 2)


def join(
    x: Float[Array, "chunks batch heads c *axes"], length: int
) -> Float[Array, "batch length heads *axes"]:
    """Invert `split`: a sequence of `length` tokens."""
    x = jnp.moveaxis(jnp.moveaxis(x, 2, 3), 0, 1)
    return x.reshape(x.shape[0], -1, *x.shape[3:])[:, :length]


class Decays(NamedTuple):
    """Products of decays in each chunk; the last axis has size key, or 1 for one decay per head.

    Attributes:
        between: Product over the tokens after s up to t, [..., t, s, key]; 0 where s > t.
        start: Product from the start of the chunk up to t, [..., t, key].
        end: Product over the tokens after s up to the end of the chunk, [..., s, key].
        whole: Product over the whole chunk, [..., key].
    """

    between: Array
    start: Array
    end: Array
    whole: Array


def decays(log_decay: Float[Array, "chunks batch heads c key"]) -> Decays:
    """Products of decays, from the logarithms of the decays."""
    index = jnp.arange(CHUNK)
    after = (index[:, None] > index[None, :])[None, None, None, ..., None]
    spans = jnp.cumsum(jnp.where(after, log_decay[..., :, None, :], 0), axis=-3)
    reached = (index[:, None] >= index[None, :])[None, None, None, ..., None]
    between = jnp.exp(jnp.where(reached, spans, -jnp.inf))
    start = jnp.exp(jnp.cumsum(log_decay, axis=-2))
    return Decays(between, start, between[..., -1, :, :], start[..., -1, :])


def pairs(q: Array, k: Array, between: Array) -> Array:
    """Weighted inner products, sum_key q[t] k[s] between[t, s], for all t and s of each chunk."""
    if between.shape[-1] == 1:  # one decay for all keys: a matrix product
        return jnp.einsum("...tk,...sk->...ts", q, k) * between[..., 0]
    return jnp.einsum("...tk,...sk,...tsk->...ts", q, k, between)


def carry(q: Array, k: Array, u: Array, decay: Decays, from_state: Array | None = None) -> Array:
    """Outputs of all chunks, with the state carried from chunk to chunk.

    Args:
        q: Queries, [chunks, batch, heads, c, key].
        k: Keys, of the same shape.
        u: Values that are written, [chunks, batch, heads, c, value].
        decay: Products of the decays in each chunk.
        from_state: Weights [chunks, batch, heads, c, key] with which the writes depend on the
            state at the start of the chunk, u - from_state S_0; None if they do not.

    Returns:
        Outputs o, [chunks, batch, heads, c, value].
    """
    inner = pairs(q, k, decay.between)
    q, k = q * decay.start, k * decay.end
    rows = (q, k, u, inner, decay.whole) + (() if from_state is None else (from_state,))

    def advance(state: Array, chunk: tuple[Array, ...]) -> tuple[Array, Array]:
        q, k, u, inner, whole, *from_state = chunk
        for read in from_state:
            u = u - jnp.einsum("bhck,bhkv->bhcv", read, state)
        o = jnp.einsum("bhck,bhkv->bhcv", q, state) + jnp.einsum("bhts,bhsv->bhtv", inner, u)
        return whole[..., None] * state + jnp.einsum("bhck,bhcv->bhkv", k, u), o

    start = jnp.zeros((*k.shape[1:3], k.shape[-1], u.shape[-1]), jnp.result_type(k, u))
    return jax.lax.scan(advance, start, rows)[1]


def inverse(A: Float[Array, "*axes c c"]) -> Float[Array, "*axes c c"]:
    """The inverse of I + A for a strictly lower triangular A; c is a power of 2.

    It is computed blockwise, by matrix products, because XLA cannot partition a triangular solve
    over devices.

    The inverse of [[P, 0], [Q, R]] is [[P', 0], [-R' Q P', R']] with P' and R' the inverses of
    P and R. Diagonal blocks of size 1 are their own inverses; each round doubles the blocks.
    """
    size, axes = A.shape[-1], A.shape[:-2]
    inverses = jnp.ones((*axes, size, 1, 1), A.dtype)
    block = 1
    while block < size:
        # The blocks Q below the diagonal, one of each pair.
        starts = range(0, size, 2 * block)
        blocks = [A[..., i + block : i + 2 * block, i : i + block] for i in starts]
        Q = jnp.stack(blocks, axis=-3)
        halves = inverses.reshape(*axes, len(starts), 2, block, block)
        P, R = halves[..., 0, :, :], halves[..., 1, :, :]
        low = -jnp.einsum("...xy,...yz,...zw->...xw", R, Q, P)
        top = jnp.concatenate([P, jnp.zeros_like(P)], axis=-1)
        inverses = jnp.concatenate([top, jnp.concatenate([low, R], axis=-1)], axis=-2)
        block *= 2
    return inverses.reshape(*axes, size, size)
