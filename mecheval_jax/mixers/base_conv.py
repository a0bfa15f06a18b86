"""BaseConv: a gated convolution (Arora et al. 2023, "Zoology").

    y = conv(x) * (W x + b) + x

`conv` is a short causal convolution, or a long one with an implicit filter k,
conv(x) = k * x + x: the long convolution adds its own input, the mixer adds its input,
and the block adds the residual, three identity paths.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Float, Int
from mecheval_jax.mixers import initializers
from mecheval_jax.mixers.implicit_filter import ReluFilter
from mecheval_jax.ops.long_convolution import (
    long_convolution,
    long_convolution_state,
    long_convolution_step,
)
from mecheval_jax.ops.positions import at_positions
from mecheval_jax.ops.short_convolution import short_convolution, short_convolution_step


class ShortConvolution(nn.Module):
    """A causal depthwise convolution with its parameters; see `ops.short_convolution`.

    Attributes:
        width: channels.
        kernel: taps.
    """

    width: int
    kernel: int

    def setup(self):
        # A bias is drawn as a tap is: uniform on +-1/sqrt(kernel).
        self.weight = self.param("weight", initializers.uniform_fan_in, (self.kernel, self.width))
        self.bias = self.param("bias", initializers.uniform(self.kernel**-0.5), (self.width,))

    def __call__(self, x: Float[Array, "batch length width"]) -> Float[Array, "batch length width"]:
        """Convolve all tokens at once."""
        return short_convolution(x, self.weight, self.bias)

    def initial_state(self, batch: int) -> Float[Array, "batch past width"]:
        """The window of inputs before the first token: zeros."""
        return jnp.zeros((batch, self.kernel - 1, self.width))

    def step(
        self, window: Float[Array, "batch past width"], x_t: Float[Array, "batch width"]
    ) -> tuple[Float[Array, "batch past width"], Float[Array, "batch width"]]:
        """Convolve one token: the next window and the output."""
        return short_convolution_step(window, x_t, self.weight, self.bias)


class BaseConv(nn.Module):
    """A gated convolution.

    Attributes:
        width: channels of the residual stream.
        max_length: length limit, the number of taps of an implicit filter.
        kernel: taps of the short convolution; None for the implicit long one.
        activation: silu on both factors (not used by the study).
    """

    width: int
    max_length: int
    kernel: int | None = 3
    activation: bool = False

    def setup(self):
        self.projection = nn.Dense(self.width, kernel_init=initializers.dense)
        if self.kernel is None:
            self.filter = ReluFilter(self.width, self.max_length)
        else:
            self.conv = ShortConvolution(self.width, self.kernel)

    def _gate(self, x, convolved):
        activation = jax.nn.silu if self.activation else lambda h: h
        return activation(convolved) * activation(self.projection(x)) + x

    def __call__(
        self,
        x: Float[Array, "batch length width"],
        positions: Int[Array, "batch queries"] | None = None,
    ) -> Float[Array, "batch positions width"]:
        """Mix all tokens at once; the outputs at `positions`, or everywhere."""
        if self.kernel is None:
            convolved = long_convolution(x, self.filter(x.shape[1])) + x
        else:
            convolved = self.conv(x)
        return self._gate(at_positions(x, positions), at_positions(convolved, positions))

    def initial_state(self, batch: int, max_length: int):
        """The inputs so far: a window of them, or all."""
        if self.kernel is None:
            return long_convolution_state(batch, max_length, self.width)
        return self.conv.initial_state(batch)

    def step(self, state, x_t: Float[Array, "batch width"]):
        """Mix one token: the next state and its output."""
        if self.kernel is None:
            state, convolved = long_convolution_step(state, x_t, self.filter)
            return state, self._gate(x_t, convolved + x_t)
        state, convolved = self.conv.step(state, x_t)
        return state, self._gate(x_t, convolved)
