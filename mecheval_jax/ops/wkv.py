"""The weighted average of RWKV-4 (Peng et al. 2023).

    y[t] = (n[t-1] + e^(u + k[t]) v[t]) / (d[t-1] + e^(u + k[t]))
    n[t] = e^w n[t-1] + e^k[t] v[t],    d[t] = e^w d[t-1] + e^k[t],    w < 0

k is not bounded, so the sums are stored as n = e^m n', d = e^m d' with m the running maximum
of the exponents. The state is [n', d', m].

The output at a token reads the state before it, and the token itself with a bonus: it is the
average n / d of the state after the token, and what the bonus adds to that. Where a state is
replaced, the output at its own token is the average of the new state, with the addition as it was.

Backends: ``sequential`` (``lax.scan``) and ``associative``, a parallel scan with the
operator that joins two spans of tokens: rescale both to the greater maximum, then add.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from mecheval_jax.array_types import Array, Float
from mecheval_jax.ops.linear_recurrence import resolve_backend
from mecheval_jax.ops.mapping import over_tokens
from mecheval_jax.ops.precision import in_float32
from mecheval_jax.ops.stabilizer import LOWEST, bounded_below
from mecheval_jax.sites import NO_ENTRY, Entry, rewrite_at, tokens_of

BACKENDS = ("auto", "sequential", "associative")


@in_float32
def wkv(
    k: Float[Array, "batch length width"],
    v: Float[Array, "batch length width"],
    w: Float[Array, " width"],
    u: Float[Array, " width"],
    entry: Entry = NO_ENTRY,
    backend: str = "auto",
) -> tuple[Float[Array, "batch length width"], Float[Array, "batch length 3 width"]]:
    """Averages y, and the states after each token.

    Args:
        k: Logarithms of the weights; below `LOWEST` they are taken for it, so that a first token
            of weight 0 still averages its own value.
        v: Values that are averaged.
        w: Logarithm of the decay per token, negative.
        u: Bonus that is added to the logarithm of the current token's weight.
        entry: Intervention on the states (`sites.rewrite`), from whose result later tokens
            continue; it is always applied sequentially.
        backend: ``auto``, ``sequential`` or ``associative``.

    Raises:
        UserError: If the backend is unknown.
    """
    backend, k = resolve_backend(backend, BACKENDS), bounded_below(k)
    start = wkv_state(k.shape[0], k.shape[2], k.dtype)
    if backend == "associative" and not entry:
        # All tokens by a parallel scan over [n', d', m] and the logarithm of the decay.
        decay = jnp.broadcast_to(w[None, None], k.shape)
        states = jax.lax.associative_scan(_join, (decay, v, jnp.ones_like(v), k), axis=1)[1:]
        states = jnp.stack(states, axis=2)
        before = jnp.concatenate([start[:, None], states[:, :-1]], axis=1)
        return _read(jnp.moveaxis(before, 2, 0), k, v, u[None, None]), states

    # Token by token.
    def advance(state: Array, at_t: tuple) -> tuple[Array, tuple[Array, Array]]:
        token, k_t, v_t = at_t
        state, y_t = wkv_step(state, k_t, v_t, w, u)
        if entry:
            live, state = state, rewrite_at(state, entry, token)
            y_t = y_t + (_average(state) - _average(live))
        return state, (y_t, state)

    return over_tokens(advance, start, (k, v), (tokens_of(entry, k.shape[1]),))


def wkv_state(
    batch: int, width: int, dtype: DTypeLike | None = None
) -> Float[Array, "batch 3 width"]:
    """State before the first token: empty sums, of the maximum `LOWEST`."""
    return jnp.zeros((batch, 3, width), dtype).at[:, 2].set(LOWEST)


def wkv_step(
    state: Float[Array, "batch 3 width"],
    k_t: Float[Array, "batch width"],
    v_t: Float[Array, "batch width"],
    w: Float[Array, " width"],
    u: Float[Array, " width"],
) -> tuple[Float[Array, "batch 3 width"], Float[Array, "batch width"]]:
    """Process one token; return the next state and the average."""
    k_t = bounded_below(k_t)
    y = _read(jnp.moveaxis(state, 1, 0), k_t, v_t, u[None])
    n, d, m = jnp.moveaxis(state, 1, 0)
    _, *after = _join((w[None], n, d, m), (w[None], v_t, jnp.ones_like(v_t), k_t))
    return jnp.stack(after, axis=1), y


def _average(state: Float[Array, "batch 3 width"]) -> Float[Array, "batch width"]:
    """The average of a state, 0 of an empty one."""
    n, d, _ = jnp.moveaxis(state, 1, 0)
    return jnp.where(d == 0, 0.0, n / jnp.where(d == 0, 1.0, d))


def _join(earlier: Sequence[Array], later: Sequence[Array]) -> Sequence[Array]:
    """Join two spans of tokens, each given as the logarithm of its decay, n', d' and m."""
    w, n, d, m = earlier
    w_later, n_later, d_later, m_later = later
    m = m + w_later
    highest = jnp.maximum(m, m_later)
    old, new = jnp.exp(m - highest), jnp.exp(m_later - highest)
    return w + w_later, old * n + new * n_later, old * d + new * d_later, highest


def _read(state: Array, k: Array, v: Array, u: Array) -> Array:
    """The average y of a token, given the state before it with n', d' and m leading."""
    n, d, m = state
    highest = jnp.maximum(m, u + k)
    old, new = jnp.exp(m - highest), jnp.exp(u + k - highest)
    return (old * n + new * v) / (old * d + new)
