"""Hyena (Poli et al. 2023), order 2.

    x1, x2, v = thirds of shortconv(W x + b)
    y = W_o (x2 * (k * (x1 v) + D (x1 v))) + b_o       (* with k: long convolution)

In the study the skip D is switched off, but its parameter is kept.
"""

import flax.linen as nn
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Float, Int
from mecheval_jax.mixers import initializers
from mecheval_jax.mixers.base_conv import ShortConvolution
from mecheval_jax.mixers.implicit_filter import SineFilter
from mecheval_jax.ops.long_convolution import (
    long_convolution,
    long_convolution_state,
    long_convolution_step,
)
from mecheval_jax.ops.positions import at_positions


class Hyena(nn.Module):
    """Hyena with an implicit filter.

    Attributes:
        width: channels of the residual stream.
        max_length: length limit, which sets the filter's time scale.
        layers: depth of the model, which scales the output projection at initialisation.
        order: width of the network that computes the filter.
        kernel: taps of the short convolution.
        skip: whether the D skip is applied; its parameter exists either way.
    """

    width: int
    max_length: int
    layers: int = 1
    order: int = 64
    kernel: int = 3
    skip: bool = False

    def setup(self):
        self.in_proj = nn.Dense(3 * self.width, kernel_init=initializers.dense)
        self.short_conv = ShortConvolution(3 * self.width, self.kernel)
        self.filter = SineFilter(self.width, self.max_length, self.order)
        self.D = self.param("D", nn.initializers.normal(1.0), (self.width,))
        self.out_proj = nn.Dense(self.width, kernel_init=initializers.into_residual(self.layers))

    def _read(self, x2, convolved, v):
        if self.skip:
            convolved = convolved + jnp.broadcast_to(self.D, v.shape) * v
        return self.out_proj(x2 * convolved)

    def __call__(
        self,
        x: Float[Array, "batch length width"],
        positions: Int[Array, "batch queries"] | None = None,
    ) -> Float[Array, "batch positions width"]:
        """Mix all tokens at once; the outputs at `positions`, or everywhere."""
        x1, x2, v = jnp.split(self.short_conv(self.in_proj(x)), 3, axis=-1)
        v = x1 * v
        convolved = long_convolution(v, self.filter(x.shape[1]))
        return self._read(*(at_positions(h, positions) for h in (x2, convolved, v)))

    def initial_state(self, batch: int, max_length: int) -> dict:
        """The states of both convolutions."""
        return {
            "short_conv": self.short_conv.initial_state(batch),
            "long_conv": long_convolution_state(batch, max_length, self.width),
        }

    def step(
        self, state: dict, x_t: Float[Array, "batch width"]
    ) -> tuple[dict, Float[Array, "batch width"]]:
        """Mix one token: the next state and its output."""
        window, u = self.short_conv.step(state["short_conv"], self.in_proj(x_t))
        x1, x2, v = jnp.split(u, 3, axis=-1)
        v = x1 * v
        inputs, convolved = long_convolution_step(state["long_conv"], v, self.filter)
        return {"short_conv": window, "long_conv": inputs}, self._read(x2, convolved, v)
