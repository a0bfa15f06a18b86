"""A linear recurrence of a matrix that writes each token twice: Mamba-3's trapezoid rule.

    S[t] = a[t] (S[t-1] + before[t] sum_r k[t-1, r] v[t-1, r]^T) + now[t] sum_r k[t, r] v[t, r]^T
    o[t, r] = S[t]^T q[t, r],    S [key, value]

with r the ranks of a token (Lahoti et al. 2026), of which there is one in the form called SISO.
A token s < t reaches t with the weight (now[s] + before[s+1]) a[s+1..t], and itself with now[s].

Backends: ``sequential`` (``lax.scan``) and ``chunked`` (`ops.chunks`), where the tokens before t
are summed with the first weight, and the token's own write is added with the second. No weight of
a later token is taken back, so that nothing depends on what comes later, not even by rounding.
"""

from typing import NamedTuple

import jax.numpy as jnp

from mecheval_jax.array_types import Array, Float
from mecheval_jax.errors import choose
from mecheval_jax.ops.chunks import carry, chunk_of, join, split
from mecheval_jax.ops.dplr import BACKENDS
from mecheval_jax.ops.mapping import over_tokens
from mecheval_jax.ops.precision import in_float32
from mecheval_jax.ops.triangular import decayed_products, sums_after, sums_before

State = tuple[Array, Array, Array]
"""S [batch, heads, key, value], and k and v [batch, heads, ranks, _] of the last token."""


class Weights(NamedTuple):
    """Weights of the state and of both writes at every token, or at one token in a step.

    Attributes:
        log_decay: Logarithms of the decays a, at most 0.
        now: Weight of the token's own write.
        before: Weight of the write of the token before, which the decay multiplies as well.
    """

    log_decay: Float[Array, "batch *length heads"]
    now: Float[Array, "batch *length heads"]
    before: Float[Array, "batch *length heads"]


@in_float32
def trapezoid(
    q: Float[Array, "batch length heads ranks key"],
    k: Float[Array, "batch length heads ranks key"],
    v: Float[Array, "batch length heads ranks value"],
    weights: Weights,
    backend: str = "auto",
) -> Float[Array, "batch length heads ranks value"]:
    """Outputs o of the recurrence, starting from a state of zeros.

    Args:
        q: Queries, which read the state.
        k: Keys, the directions in which values are written.
        v: Values that are written.
        weights: Weights of the state and of both writes at every token.
        backend: ``auto`` (chunked), ``sequential`` or ``chunked``.

    Raises:
        UserError: If the backend is unknown.
    """
    batch, length, heads, ranks, key = q.shape
    if choose("backend", backend, BACKENDS) == "sequential":

        def advance(state: State, at_t: tuple[Array, Array, Array, Weights]) -> tuple[State, Array]:
            return trapezoid_step(state, *at_t)

        zeros = jnp.zeros((batch, heads, key, v.shape[-1]), v.dtype)
        start = (zeros, jnp.zeros_like(k[:, 0]), jnp.zeros_like(v[:, 0]))
        return over_tokens(advance, start, (q, k, v, weights))

    # Tokens before t, of every rank: one set of rows, and of keys, after the other.
    size = chunk_of(length)
    log_decay, now, before = weights
    whole, log_decay = weight_of_write(now, before)[..., None, None] * v, log_decay[..., None]
    reads = jnp.exp(log_decay)[..., None] * q  # of the state before the token
    reads, keys, values = (_in_sets(split(x, size)) for x in (reads, k, whole))
    log_decay = split(log_decay, size)
    inner = decayed_products(reads, keys, log_decay)
    if length <= size:
        earlier = inner @ values
    else:
        start, end = (
            jnp.concatenate([jnp.exp(sums(log_decay))] * ranks, axis=-2)
            for sums in (sums_before, sums_after)
        )
        over_chunk = jnp.exp(log_decay.sum(axis=-2))
        earlier = carry(start * reads, end * keys, values, inner, over_chunk)
    earlier = earlier.reshape(*earlier.shape[:3], ranks, size, -1)
    earlier = join(jnp.swapaxes(earlier, 3, 4), length)
    own = jnp.einsum("blhrk,blhsk->blhrs", q, k)
    own = jnp.einsum("blhrs,blhsv->blhrv", own, now[..., None, None] * v)
    return earlier + own


def _in_sets(
    x: Float[Array, "chunks batch heads c ranks channels"],
) -> Float[Array, "chunks batch heads rows channels"]:
    """The tokens of the first rank, then those of the second, and so on."""
    x = jnp.swapaxes(x, 3, 4)
    return x.reshape(*x.shape[:3], -1, x.shape[-1])


def weight_of_write(
    now: Float[Array, "batch length heads"], before: Float[Array, "batch length heads"]
) -> Float[Array, "batch length heads"]:
    """Weight with which later tokens find the write of each: now[s] + before[s+1]."""
    return now + jnp.pad(before[:, 1:], ((0, 0), (0, 1), (0, 0)))


def trapezoid_step(
    state: State,
    q_t: Float[Array, "batch heads ranks key"],
    k_t: Float[Array, "batch heads ranks key"],
    v_t: Float[Array, "batch heads ranks value"],
    weights_t: Weights,
) -> tuple[State, Float[Array, "batch heads ranks value"]]:
    """Process one token; return the next state and the output."""
    S, k_last, v_last = state
    log_decay_t, now_t, before_t = weights_t
    earlier = S + before_t[..., None, None] * outer(k_last, v_last)
    S = jnp.exp(log_decay_t)[..., None, None] * earlier + now_t[..., None, None] * outer(k_t, v_t)
    return (S, k_t, v_t), jnp.einsum("bhkv,bhrk->bhrv", S, q_t)


def outer(
    k: Float[Array, "*axes ranks key"], v: Float[Array, "*axes ranks value"]
) -> Float[Array, "*axes key value"]:
    """Sum over ranks of k v^T."""
    return jnp.einsum("...rk,...rv->...kv", k, v)
