"""Causal depthwise convolution with a few taps.

    y[t] = bias + sum_j weight[j] x[t - K + 1 + j],   zeros before t = 0

so the *last* tap multiplies the current token, the layout of PyTorch's Conv1d. It is
computed as a sum of shifted products, which XLA fuses; for K <= 16 this compiles and
runs faster than a general convolution.
"""

import chex
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Float
from mecheval_jax.ops.precision import beside


def short_convolution(
    x: Float[Array, "batch length width"],
    weight: Float[Array, "kernel width"],
    bias: Float[Array, " width"] | None = None,
) -> Float[Array, "batch length width"]:
    """Convolve each channel along the length.

    Args:
        x: Sequences that are convolved.
        weight: Taps of each channel, the last one for the current token.
        bias: Bias of each channel; None for none.
    """
    kernel, length = weight.shape[0], x.shape[1]
    padded = jnp.pad(x, ((0, 0), (kernel - 1, 0), (0, 0)))
    y = sum(padded[:, tap : tap + length] * beside(weight[tap], x) for tap in range(kernel))
    return y if bias is None else y + beside(bias, y)


def short_convolution_step(
    window: Float[Array, "batch past width"],
    x_t: Float[Array, "batch width"],
    weight: Float[Array, "kernel width"],
    bias: Float[Array, " width"] | None = None,
) -> tuple[Float[Array, "batch past width"], Float[Array, "batch width"]]:
    """Convolve one token.

    Args:
        window: The ``kernel - 1`` inputs before this one, oldest first.
        x_t: Input of this token.
        weight: Taps of each channel, the last one for the current token.
        bias: Bias of each channel; None for none.

    Returns:
        The window for the next token, and the output of this one.
    """
    chex.assert_axis_dimension(window, 1, weight.shape[0] - 1)
    taps = jnp.concatenate([window, x_t[:, None]], axis=1)
    y = (taps * weight[None]).sum(axis=1)
    return taps[:, 1:], (y if bias is None else y + beside(bias, y))


def shifted(
    x: Float[Array, "batch length *axes"], *, reverse: bool = False
) -> Float[Array, "batch length *axes"]:
    """The token before each one, zeros at the first; or in reverse, the token after each one.

    Args:
        x: Sequences.
        reverse: Whether the token after each one is meant, with zeros at the last.
    """
    none = jnp.zeros_like(x[:, :1])
    return jnp.concatenate([x[:, 1:], none] if reverse else [none, x[:, :-1]], axis=1)
