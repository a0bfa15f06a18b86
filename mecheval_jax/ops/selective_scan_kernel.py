"""The selective scan of `ops.selective_scan` as two Pallas kernels.

    h[t] = a[t] h[t-1] + B[t] (dt[t] x[t]),   a[t] = exp(dt[t] A),   y[t] = sum_n C[t] h[t]

and backwards in time, with g[t] the gradient of the loss with respect to h[t],

    g[t] = a[t+1] g[t+1] + C[t] y_bar[t],     e[t] = g[t] a[t] h[t-1]
    x_bar[t] = dt[t] sum_n g[t] B[t],         dt_bar[t] = x[t] sum_n g[t] B[t] + sum_n e[t] A
    B_bar[t] = sum_d g[t] dt[t] x[t],         C_bar[t] = sum_d h[t] y_bar[t]
    A_bar = sum_t e[t] dt[t]

The grid is (batch, blocks of channels). One program of it loops over all tokens of one document
and keeps h, or g and A_bar, [state, block], in the carry of its loop; channels come last, so
that a row of x is one contiguous load. The forward kernel reads x, dt, B and C once and
writes y; for a gradient it also writes the state before every token, [batch, length, state,
inner], which the backward kernel reads. B_bar and C_bar are sums over all channels: each
block writes its part, and the parts are added outside of the kernel.

Channels are padded with zeros to whole blocks and states to a power of two, as the Triton
compiler requires. A block holds all tokens of a document, so a TPU's memory bounds the length.

On other platforms than GPU and TPU the kernels are interpreted, for tests only. The tests lower
the kernels for both accelerators; they were neither compiled nor timed there.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton

from mecheval_jax.array_types import Array, Float

Ref = Any
"""Block of an array as Pallas hands it to a kernel: read and written by indexing."""

BLOCK = 128  # channels of one program: the lanes of a TPU register, 4 warps of a GPU


def selective_scan_kernel(
    x: Float[Array, "batch length inner"],
    dt: Float[Array, "batch length inner"],
    rates: Float[Array, "state inner"],
    B: Float[Array, "batch length state"],
    C: Float[Array, "batch length state"],
) -> Float[Array, "batch length inner"]:
    """Outputs y of the scan, starting from a state of zeros; `rates` is A with channels last."""
    state, inner = rates.shape
    block = min(BLOCK, pl.next_power_of_2(inner))
    more_channels, more_state = -inner % block, pl.next_power_of_2(state) - state
    x, dt = (_pad(array, 0, more_channels) for array in (x, dt))
    B, C = (_pad(array, 0, more_state) for array in (B, C))
    return _scan(block, x, dt, _pad(rates, more_state, more_channels), B, C)[..., :inner]


def _pad(array: Array, rows: int, columns: int) -> Array:
    """Zeros after the end of the last two axes."""
    return jnp.pad(array, [(0, 0)] * (array.ndim - 2) + [(0, rows), (0, columns)])


def _forward_kernel(*refs: Ref) -> None:
    """Write the outputs y and, if there is a last of `refs` for them, the states before tokens."""
    x, dt, rates, B, C, y, *states = refs

    def advance(t: Array, h: Array) -> Array:
        for before in states:
            before[t] = h
        h = jnp.exp(dt[t][None] * rates[...]) * h + B[t][:, None] * (dt[t] * x[t])[None]
        y[t] = (C[t][:, None] * h).sum(axis=0)
        return h

    jax.lax.fori_loop(0, x.shape[0], advance, jnp.zeros(rates.shape, x.dtype))


def _backward_kernel(*refs: Ref) -> None:
    """Write the gradients, the last five of `refs`, from the inputs before them."""
    x, dt, rates, B, C, before, y_bar, x_bar, dt_bar, rates_bar, B_bar, C_bar = refs

    def retreat(steps: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        t = x.shape[0] - 1 - steps
        g, total = carry
        decay, written = jnp.exp(dt[t][None] * rates[...]), dt[t] * x[t]
        kept = decay * before[t]
        g = g + C[t][:, None] * y_bar[t][None]
        exponent_bar = g * kept
        written_bar = (g * B[t][:, None]).sum(axis=0)
        x_bar[t] = written_bar * dt[t]
        dt_bar[t] = written_bar * x[t] + (exponent_bar * rates[...]).sum(axis=0)
        B_bar[t] = (g * written[None]).sum(axis=1)
        C_bar[t] = ((kept + B[t][:, None] * written[None]) * y_bar[t][None]).sum(axis=1)
        return g * decay, total + exponent_bar * dt[t][None]

    zeros = jnp.zeros(rates.shape, x.dtype)
    rates_bar[...] = jax.lax.fori_loop(0, x.shape[0], retreat, (zeros, zeros))[1]


def _call(
    kernel: Callable,
    block: int,
    arrays: Sequence[Array],
    inputs: Sequence[str],
    outputs: Sequence[str],
) -> Sequence[Array]:
    """Run a kernel over documents and blocks of channels.

    Args:
        kernel: Kernel that is run.
        block: Number of channels of one program.
        arrays: Inputs of the kernel; the first three are x, dt and rates.
        inputs: Kind of each input, a key of `kinds` below.
        outputs: Kind of each output.
    """
    (batch, length, inner), (state, _) = arrays[0].shape, arrays[2].shape
    blocks = inner // block
    # For each kind of array: its shape, the shape of a program's block, and the block's index.
    kinds = {
        "x": ((batch, length, inner), (None, length, block), lambda i, j: (i, 0, j)),
        "A": ((state, inner), (state, block), lambda i, j: (0, j)),
        "B": ((batch, length, state), (None, length, state), lambda i, j: (i, 0, 0)),
        "h": (
            (batch, length, state, inner),
            (None, length, state, block),
            lambda i, j: (i, 0, 0, j),
        ),
        "A part": ((batch, state, inner), (None, state, block), lambda i, j: (i, 0, j)),
        "B part": (
            (blocks, batch, length, state),
            (None, None, length, state),
            lambda i, j: (j, i, 0, 0),
        ),
    }
    platform = jax.default_backend()
    # Without Triton's parameters Pallas compiles with Mosaic on a GPU, which jax deprecates here.
    parameters = triton.CompilerParams() if platform == "gpu" else None
    return pl.pallas_call(
        kernel,
        grid=(batch, blocks),
        in_specs=[pl.BlockSpec(*kinds[kind][1:]) for kind in inputs],
        out_specs=[pl.BlockSpec(*kinds[kind][1:]) for kind in outputs],
        out_shape=[jax.ShapeDtypeStruct(kinds[kind][0], arrays[0].dtype) for kind in outputs],
        compiler_params=parameters,
        interpret=platform not in ("gpu", "tpu"),
    )(*arrays)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _scan(block: int, x: Array, dt: Array, rates: Array, B: Array, C: Array) -> Array:
    return _call(_forward_kernel, block, (x, dt, rates, B, C), "xxABB", "x")[0]


def _forward(block: int, *arrays: Array) -> tuple[Array, tuple[Array, ...]]:
    y, before = _call(_forward_kernel, block, arrays, "xxABB", "xh")
    return y, (*arrays, before)


def _backward(block: int, saved: tuple[Array, ...], y_bar: Array) -> tuple[Array, ...]:
    outputs = ("x", "x", "A part", "B part", "B part")
    bars = _call(_backward_kernel, block, (*saved, y_bar), "xxABBhx", outputs)
    return (*bars[:2], *(parts.sum(axis=0) for parts in bars[2:]))


_scan.defvjp(_forward, _backward)
