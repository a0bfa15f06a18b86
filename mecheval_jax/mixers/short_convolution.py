"""A causal depthwise convolution with a few taps, as a module with parameters."""

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Float
from mecheval_jax.mixers import initializers
from mecheval_jax.mixers.projection import slices
from mecheval_jax.ops.short_convolution import short_convolution, short_convolution_step


class ShortConvolution(nn.Module):
    """A causal depthwise convolution; see `ops.short_convolution` for the equation.

    Attributes:
        width: Number of channels.
        kernel: Number of taps.
        use_bias: Whether a bias is added.
    """

    width: int
    kernel: int
    use_bias: bool = True

    def setup(self):
        # Taps and bias are uniform on +-1/sqrt(kernel), as in PyTorch.
        self.weight = self.param("weight", initializers.uniform_fan_in, (self.kernel, self.width))
        bias = initializers.uniform(self.kernel**-0.5)
        self.bias = self.param("bias", bias, (self.width,)) if self.use_bias else None

    def __call__(self, x: Float[Array, "batch length width"]) -> Float[Array, "batch length width"]:
        """Convolve all tokens at once."""
        return short_convolution(x, self.weight, self.bias)

    def parts(
        self, xs: Sequence[Float[Array, "batch length _"]], layout: Sequence[str | None]
    ) -> list[Float[Array, "batch length _"]]:
        """Convolve parts of the channels, each with its own taps.

        Args:
            xs: Parts, in the order of the channels.
            layout: Mesh axis along which each part is spread; see `mixers.projection.slices`.
        """
        sizes = [x.shape[-1] for x in xs]
        weights = slices(self.weight, sizes, layout)
        biases = slices(self.bias, sizes, layout) if self.use_bias else [None] * len(xs)
        return list(map(short_convolution, xs, weights, biases))

    def initial_state(self, batch: int) -> Float[Array, "batch past width"]:
        """Window of inputs before the first token: zeros."""
        return jnp.zeros((batch, self.kernel - 1, self.width))

    def step(
        self, window: Float[Array, "batch past width"], x_t: Float[Array, "batch width"]
    ) -> tuple[Float[Array, "batch past width"], Float[Array, "batch width"]]:
        """Convolve one token; return the next window and the output."""
        return short_convolution_step(window, x_t, self.weight, self.bias)
