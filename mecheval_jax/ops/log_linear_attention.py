"""Log-linear attention (Guo et al. 2025): linear attention whose weights depend on the distance.

    o[t] = sum_{s <= t} weight[t, level(t, s)] a[s+1..t] (q[t] . k[s]) v[s]

level(t, s) is the number of binary digits of t xor s: 0 for the token itself, then 1 + the place of
the highest digit in which t and s differ. The tokens of one level are a block of a power of 2, so
that a state for each level is enough. Before token t > 0 the states of the levels 0 to l merge into
level l + 1, with l the number of zeros at the end of t, and the write of t enters level 0 (as in a
Fenwick tree).

Tokens of one chunk are weighted by their level directly; between chunks the same rule holds with
chunks for tokens, on levels above those within a chunk.
"""

import jax
import jax.numpy as jnp
import numpy as np

from mecheval_jax.array_types import Array, Float, Int
from mecheval_jax.ops.chunks import join, split
from mecheval_jax.ops.mapping import over_tokens
from mecheval_jax.ops.precision import in_float32
from mecheval_jax.ops.triangular import decays_up_to
from mecheval_jax.sites import NO_ENTRY, Entry, rewrite_at, tokens_of

CHUNK = 16
"""Tokens of a chunk, a power of 2."""

INNER = CHUNK.bit_length()
"""Levels of pairs within a chunk, level 0 included."""


@in_float32
def log_linear_attention(
    q: Float[Array, "batch length heads key"],
    k: Float[Array, "batch length heads key"],
    v: Float[Array, "batch length heads value"],
    log_decay: Float[Array, "batch length heads"],
    weights: Float[Array, "batch length heads levels"],
) -> Float[Array, "batch length heads value"]:
    """Outputs o, starting from states of zeros.

    Args:
        q: Queries.
        k: Keys.
        v: Values.
        log_decay: Finite logarithms of the decays a, at most 0.
        weights: Weight of each level at each token.
    """
    batch, length, heads, key = q.shape
    chunks = -(-length // CHUNK)
    rows = (q, k, v, log_decay[..., None], weights)
    q, k, v, log_decay, weights = (split(x, CHUNK) for x in rows)
    # Within the chunks, whose pairs have the levels of the lowest digits.
    decay = decays_up_to(log_decay)
    inner = jnp.einsum("...tk,...sk->...ts", q, k) * decay
    inner = inner * weights_of_pairs(weights[..., :INNER], CHUNK)
    # Between them: states at the starts of chunks, one for each level.
    between = max(chunks - 1, 1).bit_length()
    start = jnp.exp(jnp.cumsum(log_decay, axis=-2))
    rows = (q * start, k * decay[..., -1, :, None], v, inner, start[..., -1:, :])
    rows += (weights[..., INNER : INNER + between], jnp.arange(chunks))

    def advance(states: Array, chunk: tuple[Array, ...]) -> tuple[Array, Array]:
        q, k, v, inner, whole, weights, number = chunk
        o = jnp.einsum("bhck,bhjkv,bhcj->bhcv", q, states[:, :, : weights.shape[-1]], weights)
        o = o + jnp.einsum("bhts,bhsv->bhtv", inner, v)
        own = jnp.einsum("bhck,bhcv->bhkv", k, v)
        return _merged(whole[..., None] * states, own, number + 1), o

    dtype = jnp.result_type(q, v, log_decay)
    empty = jnp.zeros((batch, heads, between, key, v.shape[-1]), dtype)
    o = jax.lax.scan(advance, empty, rows)[1]
    return join(o, length)


def weights_of_pairs(
    weights: Float[Array, "*axes length levels"], length: int
) -> Float[Array, "*axes length length"]:
    """Weights [..., t, s] of the pairs of `length` tokens, from those of the levels at each t."""
    levels = np.array([[(t ^ s).bit_length() for s in range(length)] for t in range(length)])
    found = jnp.eye(weights.shape[-1], dtype=weights.dtype)[jnp.asarray(levels)]
    return jnp.einsum("...tl,tsl->...ts", weights, found, precision="highest")


def _merged(states: Array, own: Array, number: Array) -> Array:
    """States [..., level, key, value] before the unit of a number, a token or chunk.

    Those of the levels 1 to l, and what the last unit wrote, merge into level l + 1, with l the
    number of zeros at the end of `number`; the axis of levels begins with level 1.
    """
    bits = jnp.arange(states.shape[-3])
    levels = states.shape[-3]  # none of a single token
    ends = jnp.where((number >> bits) & 1 == 1, bits, levels).min(initial=levels)
    lower, here = (test[:, None, None] for test in (bits < ends, bits == ends))
    lead = (None,) * (states.ndim - 3)
    merged = own + jnp.where(lower[lead], states, 0).sum(axis=-3)
    return jnp.where(here[lead], merged[..., None, :, :], jnp.where(lower[lead], 0, states))


def advance_levels(
    states: Float[Array, "batch heads levels key value"],
    write_t: Float[Array, "batch heads key value"],
    log_decay_t: Float[Array, "batch heads"],
    position: Int[Array, ""],
) -> Float[Array, "batch heads levels key value"]:
    """States of all levels after one more token, which stands at `position`."""
    merged = _merged(states[:, :, 1:], states[:, :, 0], position)
    merged = jnp.where(position > 0, merged, states[:, :, 1:])
    decayed = jnp.exp(log_decay_t)[..., None, None, None] * merged
    return jnp.concatenate([write_t[:, :, None].astype(decayed.dtype), decayed], axis=2)


def read_levels(
    states: Float[Array, "*axes levels key value"],
    q: Float[Array, "*axes key"],
    weights: Float[Array, "*axes all_levels"],
) -> Float[Array, "*axes value"]:
    """What a query reads of the states, each with the weight of its level."""
    weights = weights[..., : states.shape[-3]]
    return jnp.einsum("...lkv,...k,...l->...v", states, q, weights).astype(q.dtype)


@in_float32
def log_linear_states(
    write: Float[Array, "batch length heads key value"],
    log_decay: Float[Array, "batch length heads"],
    levels: int,
    entry: Entry = NO_ENTRY,
) -> Float[Array, "batch length heads levels key value"]:
    """States of all levels after every token, with an intervention on them applied.

    Args:
        write: What each token adds to level 0.
        log_decay: Logarithms of the decays.
        levels: Number of levels; those above what the length needs are left out.
        entry: Intervention on the states (`sites.rewrite`), from whose result later tokens go on.
    """
    batch, length, heads, key, value = write.shape

    def advance(states: Array, at_t: tuple) -> tuple[Array, Array]:
        token, position, write_t, log_decay_t = at_t
        states = advance_levels(states, write_t, log_decay_t, position)
        states = rewrite_at(states, entry, token)
        return states, states

    count = min(levels, max(length - 1, 0).bit_length() + 1)
    empty = jnp.zeros((batch, heads, count, key, value), write.dtype)
    indices = (tokens_of(entry, length), jnp.arange(length))
    return over_tokens(advance, empty, (write, log_decay), indices)
