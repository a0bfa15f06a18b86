"""The linear recurrence h[t] = decay[t] h[t-1] + write[t], elementwise.

Backends:

- ``sequential``: ``lax.scan``.
- ``associative``: a parallel scan (Blelloch 1990) with the operator
  (a, b) . (a', b') = (a a', a' b + b').
- ``chunked``, in three passes: for all chunks at once, the state that a chunk leaves behind and
  the product of its decays; from these, chunk by chunk, the state at the start of each; and
  again for all chunks at once, all states. Its depth is 2 CHUNK + length / CHUNK.

The gradient g of the states obeys the recurrence backwards, g[t] = h_bar[t] + decay[t+1] g[t+1],
with decay_bar[t] = g[t] h[t-1], so each backend computes its gradient by running in reverse. This
stores nothing but the states and is mostly faster than the derived gradient, but rules out
forward-mode derivatives (``jax.jvp``). No backend divides by a decay.

Milliseconds for value and gradient, batch 4, state 64 x 16, the best of 15 or more interleaved
runs on 2 CPU cores under other load (``python -m launch.benchmark --only=recurrence`` prints
medians):

======  ==========  ===========  =======  ==========  ===========  =======
..      a decay for every entry           a decay for 16 entries
------  --------------------------------  --------------------------------
length  sequential  associative  chunked  sequential  associative  chunked
======  ==========  ===========  =======  ==========  ===========  =======
37            0.55         0.71     0.53        0.56         0.57     0.52
256            5.5         10.6      8.8         4.5          5.3      5.2
1024            57          111       79          60           65       69
4096           287          517      367         197          196      180
======  ==========  ===========  =======  ==========  ===========  =======

They compile in 0.4, 1.1-3.0 and 0.8 s. ``auto`` therefore takes ``sequential`` on a CPU at every
length. It takes ``associative`` on accelerators, where depth rather than work should be the
limit; this was not measured.
"""

import functools
from collections.abc import Callable, Sequence

import chex
import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Float
from mecheval_jax.errors import choose
from mecheval_jax.ops.mapping import over_tokens
from mecheval_jax.ops.precision import wide_type
from mecheval_jax.ops.short_convolution import shifted
from mecheval_jax.sites import (
    NO_ENTRY,
    Entry,
    into_recurrence,
    is_elementwise,
    rewrite_at,
    tokens_of,
)

BACKENDS = ("auto", "sequential", "associative", "chunked")
CHUNK = 64  # on a CPU anything from 16 to 128 takes the same time

Span = tuple[Array, Array]
"""Two arrays of a recurrence: its decays, and its writes or states."""


def resolve_backend(backend: str, backends: tuple[str, ...] = BACKENDS) -> str:
    """The backend that ``auto`` stands for on this platform, or else `backend` itself.

    Raises:
        UserError: If the backend is not one of `backends`.
    """
    if choose("backend", backend, backends) == "auto":
        return "sequential" if jax.default_backend() == "cpu" else "associative"
    return backend


def linear_recurrence(
    decay: Float[Array, "#batch #length *#state"],
    write: Float[Array, "batch length *state"],
    initial: Float[Array, "batch *state"] | None = None,  # noqa: F821
    backend: str = "auto",
    entry: Entry = NO_ENTRY,
) -> Float[Array, "batch length *state"]:
    """All states h[0..length-1], in the dtype of `write`; computed in float32 or wider.

    Args:
        decay: Factor of the state at each token; an axis of size 1 is broadcast.
        write: Addition to the state at each token.
        initial: State before the first token; zeros if None.
        backend: One of `BACKENDS`.
        entry: Intervention on the states (`sites.rewrite`), from whose result later tokens
            continue. One with a projection always loops over tokens.

    Raises:
        UserError: If the backend is unknown.
    """
    chex.assert_equal_rank((decay, write))
    chex.assert_is_broadcastable(decay.shape, write.shape)
    scan = _SCANS[resolve_backend(backend)]
    wide = wide_type(decay, write)
    wide_decay, wide_write = decay.astype(wide), write.astype(wide)
    # The scans run over the decays as well.
    wide_decay = jnp.broadcast_to(wide_decay, (*write.shape[:2], *decay.shape[2:]))
    if initial is not None:
        wide_write = wide_write.at[:, 0].add(wide_decay[:, 0] * initial)
    if is_elementwise(entry):
        states = _recur(scan, *into_recurrence(entry, wide_decay, wide_write))
    else:
        states = _rewritten(wide_decay, wide_write, entry)
    return states.astype(write.dtype)


def _rewritten(decay: Array, write: Array, entry: Entry) -> Array:
    """The states, rewritten token by token."""

    def advance(state: Array, at_t: tuple) -> tuple[Array, Array]:
        token, *rest = at_t
        # A value that replaces the whole state may be narrower than it.
        state = rewrite_at(_advance(state, rest)[0], entry, token).astype(state.dtype)
        return state, state

    start, tokens = jnp.zeros_like(write[:, 0]), tokens_of(entry, write.shape[1])
    return over_tokens(advance, start, (decay, write), (tokens,))


def _advance(state: Array, at_t: Sequence[Array]) -> tuple[Array, Array]:
    state = at_t[0] * state + at_t[1]
    return state, state


def _sequential(decay: Array, write: Array, reverse: bool = False) -> Array:
    return over_tokens(_advance, jnp.zeros_like(write[:, 0]), (decay, write), reverse=reverse)


def _associative(decay: Array, write: Array, reverse: bool = False) -> Array:
    def combine(earlier: Span, later: Span) -> Span:
        return earlier[0] * later[0], later[0] * earlier[1] + later[1]

    return jax.lax.associative_scan(combine, (decay, write), axis=1, reverse=reverse)[1]


def _chunked(decay: Array, write: Array, reverse: bool = False) -> Array:
    batch, length, *state = write.shape
    chunks = -(-length // CHUNK)
    size = -(-length // chunks)  # as equal as they can be: little is padded

    def split(x: Array) -> Array:
        """Chunks, [size, batch, chunks, ...]; padding writes nothing, in either direction."""
        pad = [(0, 0), (0, chunks * size - length)] + [(0, 0)] * len(state)
        x = jnp.pad(x, pad).reshape(x.shape[0], chunks, size, *x.shape[2:])
        return jnp.moveaxis(x, 2, 0)

    def leave(whole: Span, at_t: Span) -> tuple[Span, None]:
        return (at_t[0] * whole[0], at_t[0] * whole[1] + at_t[1]), None

    by_time = (split(decay), split(write))
    nothing = (jnp.ones_like(by_time[0][0]), jnp.zeros_like(by_time[1][0]))
    whole = jax.lax.scan(leave, nothing, by_time, reverse=reverse)[0]
    starts = shifted(_sequential(*whole, reverse), reverse=reverse)
    states = jax.lax.scan(_advance, starts, by_time, reverse=reverse)[1]
    return jnp.moveaxis(states, 0, 2).reshape(batch, -1, *state)[:, :length]


_SCANS = {"sequential": _sequential, "associative": _associative, "chunked": _chunked}


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _recur(scan: Callable[..., Array], decay: Array, write: Array) -> Array:
    return scan(decay, write)


def _forward(scan: Callable[..., Array], decay: Array, write: Array) -> tuple[Array, Span]:
    states = scan(decay, write)
    return states, (decay, states)


def _backward(scan: Callable[..., Array], saved: Span, states_bar: Array) -> Span:
    decay, states = saved
    write_bar = scan(shifted(decay, reverse=True), states_bar, reverse=True)
    decay_bar = write_bar * shifted(states)
    shared = [axis for axis in range(decay.ndim) if decay.shape[axis] < states.shape[axis]]
    return decay_bar.sum(axis=shared, keepdims=True), write_bar


_recur.defvjp(_forward, _backward)
