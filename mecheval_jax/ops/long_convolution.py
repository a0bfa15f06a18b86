"""Causal convolution with a filter as long as the sequence.

    y[t, c] = sum_{s <= t} filter[t - s, c] x[s, c]

Three backends, equal in value and gradient:

``toeplitz``
    a batched product with the lower-triangular Toeplitz matrix of each channel:
    length^2 operations, but ones that suit matrix units.
``fft``
    zero-padded real FFTs: length log length operations. XLA replicates the operand of an
    FFT on every device, so under a mesh the transform runs inside ``jax.shard_map``,
    each device on its own documents and channels.
``direct``
    a sum over lags in order, the reference that tests compare with.

``auto`` takes ``toeplitz`` up to `TOEPLITZ_LIMIT` positions. Measured on 2 CPU cores (batch 32,
width 64, value and gradient; ``launch/benchmark.py --only=convolution``), FFT time /
Toeplitz time is 1.8 at 32 positions, 1.1 at 64, 0.5 at 128, 0.15 at 256, 0.05 at 1,024.
"""

from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Float, Int
from mecheval_jax.errors import choose
from mecheval_jax.mesh_axes import DOCUMENTS, MODEL, current_mesh, fitted
from mecheval_jax.ops.positions import at_positions
from mecheval_jax.ops.precision import in_float32

TOEPLITZ_LIMIT = 64
"""Greatest length at which ``auto`` takes ``toeplitz``."""
BACKENDS = ("auto", "toeplitz", "fft", "direct")


@in_float32
def long_convolution(
    x: Float[Array, "batch length width"],
    filter: Float[Array, "length width"],
    backend: str = "auto",
    *,
    inner: bool = True,
    positions: Int[Array, "batch queries"] | None = None,
) -> Float[Array, "batch positions width"]:
    """Convolve each channel of `x` with its filter, causally.

    Args:
        x: Sequences that are convolved.
        filter: Taps of each channel, the one of the current token first.
        backend: One of `BACKENDS`.
        inner: Whether these are inner channels of a mixer, which are spread over devices;
            each device holds all channels of the residual stream.
        positions: Tokens whose outputs are returned; all if None. A single one is a sum over the
            tokens up to it, whatever the backend.

    Raises:
        UserError: If the backend is unknown.
    """
    chex.assert_equal(x.shape[1:], filter.shape)
    choose("backend", backend, BACKENDS)
    if positions is not None:
        if positions.shape[1] == 1:
            return _once(x, filter, positions)
        return at_positions(long_convolution(x, filter, backend, inner=inner), positions)
    if backend == "auto":
        backend = "toeplitz" if x.shape[1] <= TOEPLITZ_LIMIT else "fft"
    if backend == "fft":
        return _fft(x, filter, MODEL if inner else None)
    return {"toeplitz": _toeplitz, "direct": _direct}[backend](x, filter)


def long_convolution_state(batch: int, max_length: int, width: int) -> dict[str, Array]:
    """State of the recurrent form before the first token.

    It holds all inputs, since a filter without structure has no smaller state.
    """
    inputs = jnp.zeros((batch, max_length, width))
    return {"inputs": inputs, "position": jnp.zeros((), jnp.int32)}


def long_convolution_step(
    state: dict[str, Array],
    x_t: Float[Array, "batch width"],
    filter_of_length: Callable[[int], Float[Array, "length width"]],
) -> tuple[dict[str, Array], Float[Array, "batch width"]]:
    """Convolve one token.

    Args:
        state: State after the token before, as `long_convolution_state` begins it.
        x_t: Input of this token.
        filter_of_length: Function that returns the first taps of the filter, as many as asked.

    Returns:
        The next state and the output.
    """
    position = state["position"]
    inputs = jax.lax.dynamic_update_slice_in_dim(
        state["inputs"], x_t[:, None].astype(state["inputs"].dtype), position, axis=1
    )
    lag = position - jnp.arange(inputs.shape[1])
    taps = filter_of_length(inputs.shape[1])[jnp.maximum(lag, 0)]
    y = jnp.einsum("bld,ld->bd", inputs, jnp.where(lag[:, None] >= 0, taps, 0))
    return {"inputs": inputs, "position": position + 1}, y


def _once(x: Array, filter: Array, positions: Int[Array, "batch 1"]) -> Array:
    """The output of one token of each sequence."""
    lag = positions - jnp.arange(x.shape[1])[None]
    taps = jnp.where(lag[..., None] >= 0, filter[jnp.maximum(lag, 0)], 0)
    return (taps * x).sum(axis=1, keepdims=True)


def toeplitz(filter: Float[Array, "length channels"]) -> Float[Array, "length length channels"]:
    """The matrices M[t, s] = filter[t - s] of a causal convolution, 0 where s > t."""
    index = jnp.arange(filter.shape[0])
    lag = index[:, None] - index[None, :]
    return jnp.where((lag >= 0)[..., None], filter[jnp.maximum(lag, 0)], 0)


def _toeplitz(x: Array, filter: Array) -> Array:
    return jnp.einsum("lsd,bsd->bld", toeplitz(filter), x)


def _fft(x: Array, filter: Array, channels: str | None) -> Array:
    """FFT backend; `channels` is the mesh axis over which channels are spread."""
    mesh = current_mesh()
    if mesh is None:
        return _fft_on_one_device(x, filter)
    inputs = fitted((DOCUMENTS, None, channels), x.shape, mesh.shape)
    taps = fitted((None, channels), filter.shape, mesh.shape)
    return jax.shard_map(_fft_on_one_device, in_specs=(inputs, taps), out_specs=inputs)(x, filter)


def _fft_on_one_device(x: Array, filter: Array) -> Array:
    length = x.shape[1]
    # At least twice the length: else the end of the sequence would wrap round to its start.
    size = transform_size(2 * length)
    transform = jnp.fft.rfft(x, n=size, axis=1) * jnp.fft.rfft(filter, n=size, axis=0)[None]
    return jnp.fft.irfft(transform, n=size, axis=1)[:, :length].astype(x.dtype)


def transform_size(least: int) -> int:
    """The smallest size of at least so many numbers whose real FFT is fast: of small factors."""
    import scipy.fft  # half a second of import that most programs never need

    return scipy.fft.next_fast_len(least, real=True)


def _direct(x: Array, filter: Array) -> Array:
    length = x.shape[1]
    padded = jnp.pad(x, ((0, 0), (length, 0), (0, 0)))

    def add_lag(y: Array, lag: Array) -> tuple[Array, None]:
        shifted = jax.lax.dynamic_slice_in_dim(padded, length - lag, length, axis=1)
        return y + shifted * filter[lag][None, None], None

    return jax.lax.scan(add_lag, jnp.zeros_like(x), jnp.arange(length))[0]
