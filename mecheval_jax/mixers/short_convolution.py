"""A causal depthwise convolution with its parameters, which several mixers have."""

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Float
from mecheval_jax.mixers import initializers
from mecheval_jax.mixers.projection import slices
from mecheval_jax.ops.short_convolution import short_convolution, short_convolution_step


class ShortConvolution(nn.Module):
    """See `ops.short_convolution`.

    Attributes:
        width: channels.
        kernel: taps.
        use_bias: whether a bias is added.
    """

    width: int
    kernel: int
    use_bias: bool = True

    def setup(self):
        # A bias is drawn as a tap is: uniform on +-1/sqrt(kernel).
        self.weight = self.param("weight", initializers.uniform_fan_in, (self.kernel, self.width))
        bias = initializers.uniform(self.kernel**-0.5)
        self.bias = self.param("bias", bias, (self.width,)) if self.use_bias else None

    def __call__(self, x: Float[Array, "batch length width"]) -> Float[Array, "batch length width"]:
        """Convolve all tokens at once."""
        return short_convolution(x, self.weight, self.bias)

    def parts(
        self, xs: Sequence[Float[Array, "batch length _"]], layout: Sequence[str | None]
    ) -> list[Float[Array, "batch length _"]]:
        """Convolve parts of the channels (see `mixers.projection`), each with its own taps."""
        sizes = [x.shape[-1] for x in xs]
        weights = slices(self.weight, sizes, layout)
        biases = slices(self.bias, sizes, layout) if self.use_bias else [None] * len(xs)
        return list(map(short_convolution, xs, weights, biases))

    def initial_state(self, batch: int) -> Float[Array, "batch past width"]:
        """The window of inputs before the first token: zeros."""
        return jnp.zeros((batch, self.kernel - 1, self.width))

    def step(
        self, window: Float[Array, "batch past width"], x_t: Float[Array, "batch width"]
    ) -> tuple[Float[Array, "batch past width"], Float[Array, "batch width"]]:
        """Convolve one token: the next window and the output."""
        return short_convolution_step(window, x_t, self.weight, self.bias)
