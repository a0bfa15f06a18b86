"""Causal depthwise convolution with a few taps.

    y[t] = bias + sum_j weight[j] x[t - K + 1 + j],   zeros before t = 0

so the *last* tap multiplies the current token (the layout of the reference
modules). A sum of shifted products: on every platform that is faster to compile
and to run for K <= 16 than a general convolution, and XLA fuses it.
"""

import chex
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Float


def short_convolution(
    x: Float[Array, "batch length width"],
    weight: Float[Array, "kernel width"],
    bias: Float[Array, " width"] | None = None,
) -> Float[Array, "batch length width"]:
    """Convolve along length; output and input have the same shape."""
    kernel, length = weight.shape[0], x.shape[1]
    padded = jnp.pad(x, ((0, 0), (kernel - 1, 0), (0, 0)))
    y = sum(padded[:, tap : tap + length] * weight[None, None, tap] for tap in range(kernel))
    return y if bias is None else y + bias[None, None]


def short_convolution_step(
    window: Float[Array, "batch past width"],
    x_t: Float[Array, "batch width"],
    weight: Float[Array, "kernel width"],
    bias: Float[Array, " width"] | None = None,
) -> tuple[Float[Array, "batch past width"], Float[Array, "batch width"]]:
    """One token of the convolution.

    Args:
        window: the ``kernel - 1`` inputs before this one, oldest first.
        x_t: this token's input.
        weight: taps, the last on the current token.
        bias: added to every output.

    Returns:
        The window for the next token, and this token's output.
    """
    chex.assert_axis_dimension(window, 1, weight.shape[0] - 1)
    taps = jnp.concatenate([window, x_t[:, None]], axis=1)
    y = (taps * weight[None]).sum(axis=1)
    return taps[:, 1:], (y if bias is None else y + bias[None])
