"""Hyena (Poli et al. 2023), order 2.

    x1, x2, v = thirds of shortconv(W x + b)
    y = W_o (x2 * (k * (x1 v) + D (x1 v))) + b_o       (* with k: long convolution)

In the study the skip D is switched off, but its parameter is kept.
"""

import flax.linen as nn
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Float, Int
from mecheval_jax.mesh_axes import MODEL
from mecheval_jax.mixers import initializers
from mecheval_jax.mixers.filters import SineFilter
from mecheval_jax.mixers.projection import Projection, apart
from mecheval_jax.mixers.short_convolution import ShortConvolution
from mecheval_jax.ops.long_convolution import (
    long_convolution,
    long_convolution_state,
    long_convolution_step,
)
from mecheval_jax.ops.positions import at_positions
from mecheval_jax.sites import declare


class Hyena(nn.Module):
    """Hyena with an implicit filter.

    Attributes:
        width: channels of the residual stream.
        max_length: length limit, which sets the filter's time scale.
        layers: depth of the model, which scales the output projection at initialisation.
        order: width of the network that computes the filter.
        kernel: taps of the short convolution; 0 for none.
        skip: whether the D skip is applied; its parameter exists either way.
    """

    width: int
    max_length: int
    layers: int = 1
    order: int = 64
    kernel: int = 3
    skip: bool = False

    SITES = {
        "conv_input": "what the short convolution reads: x1, x2 and v",
        "conv_output": "what it gives",
        "input_gate": "x1, the factor before the long convolution",
        "filter_input": "x1 v, what the long convolution reads",
        "filter_output": "what it gives",
        "gate": "x2, the factor after it",
    }

    def setup(self):
        declare(self)
        thirds = (self.width,) * 3
        self.in_proj = Projection(self.width, thirds, True, initializers.dense)
        if self.kernel:
            self.short_conv = ShortConvolution(3 * self.width, self.kernel)
        self.filter = SineFilter(self.width, self.max_length, self.order)
        self.D = self.param("D", nn.initializers.normal(1.0), (self.width,))
        self.out_proj = nn.Dense(self.width, kernel_init=initializers.into_residual(self.layers))

    def _factors(self, x1, x2, v):
        """The gate x2, and the input x1 v of the long convolution."""
        return self.gate(x2), self.filter_input(self.input_gate(x1) * v)

    def _convolved(self, x):
        """x1, x2 and v of all tokens."""
        if apart(self.width, self.conv_input, self.conv_output):
            parts = self.in_proj.parts(x)
            return self.short_conv.parts(parts, (MODEL,) * 3) if self.kernel else parts
        u = self.conv_input(self.in_proj(x))
        return jnp.split(self.conv_output(self.short_conv(u) if self.kernel else u), 3, axis=-1)

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
        x2, v = self._factors(*self._convolved(x))
        convolved = self.filter_output(long_convolution(v, self.filter(x.shape[1])))
        return self._read(*(at_positions(h, positions) for h in (x2, convolved, v)))

    def initial_state(self, batch: int, max_length: int) -> dict:
        """The states of the convolutions."""
        state = {"long_conv": long_convolution_state(batch, max_length, self.width)}
        return state | ({"short_conv": self.short_conv.initial_state(batch)} if self.kernel else {})

    def step(
        self, state: dict, x_t: Float[Array, "batch width"]
    ) -> tuple[dict, Float[Array, "batch width"]]:
        """Mix one token: the next state and its output."""
        new, u = {}, self.in_proj(x_t)
        if self.kernel:
            new["short_conv"], u = self.short_conv.step(state["short_conv"], u)
        x2, v = self._factors(*jnp.split(self.conv_output(u), 3, axis=-1))
        new["long_conv"], convolved = long_convolution_step(state["long_conv"], v, self.filter)
        return new, self._read(x2, convolved, v)
