"""The selective scan of Mamba (Gu and Dao 2023, section 3.2).

    h[t] = exp(dt[t] A) h[t-1] + dt[t] x[t] B[t],    y[t] = C[t] . h[t]

with one state of size n per inner channel; B and C are shared by the channels.

The ``sequential`` backend forms exp(dt A) and dt x B inside the loop, so that the states are
the only array of size length x inner x state that is stored. It has a gradient of its own, which
recomputes the decay in the backward loop instead of storing it, and of long documents the states,
too, a segment at a time: that takes less than half the memory, and 0.87 to 0.89 of the time (two
layers of width 64, 256 to 2,048 tokens). The state is laid out [batch, state, inner], channels
last, which makes the sum over the state a sum of vectors. This and the batched products of the
backward loop make it 3-4 times faster than the derived gradient on a CPU (batch 32, length 35,
inner 128, state 16: 6-8 ms against 25 ms on 2 cores).

``associative`` and ``chunked`` are those of `ops.linear_recurrence`, over stored decays and
writes; ``pallas`` is a fused kernel, `ops.selective_scan_kernel`. ``auto`` takes
``sequential`` on a CPU (batch 4, inner 64, state 16, value and gradient in ms, against
associative and chunked: 0.8, 1.2, 1.2 at length 37; 5, 31, 30 at 256; 51, 165, 154 at 1,024;
228, 705, 622 at 4,096) and ``associative`` on accelerators. It never takes ``pallas``, which
was not measured on an accelerator.
"""

import functools

import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Float
from mecheval_jax.ops.linear_recurrence import BACKENDS as RECURRENCE_BACKENDS
from mecheval_jax.ops.linear_recurrence import linear_recurrence, resolve_backend
from mecheval_jax.ops.precision import in_float32

BACKENDS = (*RECURRENCE_BACKENDS, "pallas")
UNROLL = 5  # iterations of a loop over all tokens that are compiled as one
SEGMENT = 32  # tokens of a segment, where the gradient keeps the states at its start alone
IN_SEGMENTS = 256  # tokens from which on that is done


Tokens = tuple[Array, Array, Array, Array]
"""x, dt, B and C of some tokens."""


@in_float32
def selective_scan(
    x: Float[Array, "batch length inner"],
    dt: Float[Array, "batch length inner"],
    A: Float[Array, "inner state"],
    B: Float[Array, "batch length state"],
    C: Float[Array, "batch length state"],
    backend: str = "auto",
) -> Float[Array, "batch length inner"]:
    """Outputs y of the scan, starting from a state of zeros.

    Args:
        x: Input of each channel.
        dt: Step sizes, positive.
        A: Rates of decay, negative.
        B: Direction in which the input is written into the state.
        C: Direction in which the state is read.
        backend: One of `BACKENDS`.

    Raises:
        UserError: If the backend is unknown.
    """
    backend = resolve_backend(backend, BACKENDS)
    if backend == "sequential":
        return _in_segments(x, dt, A.T, B, C)
    if backend == "pallas":
        # Imported here: no other backend needs to wait for the import of Pallas.
        from mecheval_jax.ops.selective_scan_kernel import selective_scan_kernel

        return selective_scan_kernel(x, dt, A.T, B, C)
    decay = jnp.exp(dt[:, :, None] * A.T[None, None])
    write = B[..., None] * (dt * x)[:, :, None]
    states = linear_recurrence(decay, write, backend=backend)
    return (states * C[..., None]).sum(axis=2)


def selective_scan_step(
    state: Float[Array, "batch state inner"],
    x_t: Float[Array, "batch inner"],
    dt_t: Float[Array, "batch inner"],
    A: Float[Array, "inner state"],
    B_t: Float[Array, "batch state"],
    C_t: Float[Array, "batch state"],
) -> tuple[Float[Array, "batch state inner"], Float[Array, "batch inner"]]:
    """Process one token; return the next state and the output."""
    state = jnp.exp(dt_t[:, None] * A.T[None]) * state + B_t[..., None] * (dt_t * x_t)[:, None]
    return state, (state * C_t[..., None]).sum(axis=1)


def _by_time(*arrays: Array) -> tuple[Array, ...]:
    return tuple(jnp.moveaxis(array, 1, 0) for array in arrays)


def _in_segments(
    x: Array, dt: Array, rates: Array, B: Array, C: Array
) -> Float[Array, "batch length inner"]:
    """Outputs of the scan, of which the states between segments alone are kept for the gradient.

    Here and below, `rates` is A with channels last, [state, inner].
    """
    batch, length, inner = x.shape
    start = jnp.zeros((batch, *rates.shape), x.dtype)
    if length < IN_SEGMENTS:
        return _segment(UNROLL, start, rates, (x, dt, B, C))[1]

    def cut(array: Array) -> Array:
        padded = jnp.pad(array, ((0, 0), (0, -length % SEGMENT), (0, 0)))
        return jnp.moveaxis(padded.reshape(batch, -1, SEGMENT, array.shape[2]), 1, 0)

    @functools.partial(jax.checkpoint, prevent_cse=False)
    def advance(state: Array, tokens: Tokens) -> tuple[Array, Array]:
        return _segment(1, state, rates, tokens)

    segments = tuple(map(cut, (x, dt, B, C)))
    y = jnp.moveaxis(jax.lax.scan(advance, start, segments)[1], 0, 1)
    return y.reshape(batch, -1, inner)[:, :length]


def _scan(
    unroll: int, start: Array, rates: Array, tokens: Tokens
) -> tuple[Array, tuple[Array, Array]]:
    """The last state; and outputs y and the state before each token, with time leading."""

    def advance(state: Array, at_t: tuple[Array, ...]) -> tuple[Array, tuple[Array, Array]]:
        after, y_t = selective_scan_step(state, at_t[0], at_t[1], rates.T, at_t[2], at_t[3])
        return after, (y_t, state)

    return jax.lax.scan(advance, start, _by_time(*tokens), unroll=unroll)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _segment(unroll: int, start: Array, rates: Array, tokens: Tokens) -> tuple[Array, Array]:
    """The state behind some tokens, and their outputs, from the state before them."""
    end, (y, _) = _scan(unroll, start, rates, tokens)
    return end, jnp.moveaxis(y, 0, 1)


def _forward(
    unroll: int, start: Array, rates: Array, tokens: Tokens
) -> tuple[tuple[Array, Array], tuple[Array, Tokens, Array]]:
    end, (y, states) = _scan(unroll, start, rates, tokens)
    return (end, jnp.moveaxis(y, 0, 1)), (rates, tokens, states)


def _backward(
    unroll: int, saved: tuple[Array, Tokens, Array], bars: tuple[Array, Array]
) -> tuple[Array, Array, Tokens]:
    rates, tokens, states = saved
    end_bar, y_bar = bars

    def retreat(carry: tuple[Array, Array], at_t: tuple[Array, ...]) -> tuple[tuple, tuple]:
        h_bar, rates_bar = carry
        x_t, dt_t, B_t, C_t, y_bar_t, h_before = at_t
        decay = jnp.exp(dt_t[:, None] * rates[None])
        written = dt_t * x_t
        kept = decay * h_before
        h = kept + B_t[..., None] * written[:, None]
        h_bar = h_bar + C_t[..., None] * y_bar_t[:, None]
        C_bar = jnp.einsum("bnd,bd->bn", h, y_bar_t)
        B_bar = jnp.einsum("bnd,bd->bn", h_bar, written)
        written_bar = jnp.einsum("bnd,bn->bd", h_bar, B_t)
        exponent_bar = h_bar * kept  # gradient of the exponent dt A
        # Summed over documents after the loop: a reduction inside it costs more.
        rates_bar = rates_bar + exponent_bar * dt_t[:, None]
        dt_bar = (exponent_bar * rates[None]).sum(axis=1) + written_bar * x_t
        return (h_bar * decay, rates_bar), (written_bar * dt_t, dt_bar, B_bar, C_bar)

    at_t = (*_by_time(*tokens, y_bar), states)
    (start_bar, rates_bar), by_time = jax.lax.scan(
        retreat, (end_bar, jnp.zeros_like(end_bar)), at_t, reverse=True, unroll=unroll
    )
    x_bar, dt_bar, B_bar, C_bar = (jnp.moveaxis(array, 0, 1) for array in by_time)
    return start_bar, rates_bar.sum(axis=0), (x_bar, dt_bar, B_bar, C_bar)


_segment.defvjp(_forward, _backward)
