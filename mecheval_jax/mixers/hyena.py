"""Hyena (Poli et al. 2023), order 2.

    x1, x2, v = thirds of shortconv(W x + b)
    y = W_o (x2 * (k (*) (x1 v) + D (x1 v))) + b_o       ((*): long convolution)

The filter k is `mixers.filters.SineFilter`. By default the skip D is switched off, though its
parameter exists, as in arXiv 2505.15105.
"""

import flax.linen as nn
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Float, Int, PyTree
from mecheval_jax.mesh_axes import MODEL
from mecheval_jax.mixers import initializers
from mecheval_jax.mixers.filters import SineFilter
from mecheval_jax.mixers.projection import Projection, apart
from mecheval_jax.mixers.short_convolution import ShortConvolution, reach_of_taps
from mecheval_jax.ops.long_convolution import (
    long_convolution,
    long_convolution_state,
    long_convolution_step,
)
from mecheval_jax.ops.positions import at_positions
from mecheval_jax.ops.precision import beside
from mecheval_jax.sites import ALL, declare


class Hyena(nn.Module):
    """Hyena of order 2 with an implicit filter.

    Attributes:
        width: Number of channels of the residual stream.
        max_length: Length limit in tokens, which sets the filter's time scale.
        layers: Number of layers of the model, which scales the initial output projection.
        order: Width of the network that computes the filter.
        kernel: Number of taps of the short convolution; 0 for none.
        skip: Whether the skip D is applied; its parameter exists either way.
    """

    width: int
    max_length: int
    layers: int = 1
    order: int = 64
    kernel: int = 3
    skip: bool = False

    SITES = {
        "conv_input": "input of the short convolution: x1, x2 and v",
        "conv_output": "output of the short convolution",
        "input_gate": "x1, the factor before the long convolution",
        "filter_input": "x1 v, the input of the long convolution",
        "filter_output": "output of the long convolution",
        "gate": "x2, the factor after the long convolution",
    }

    @nn.nowrap
    def local_reach(self) -> dict[str, float]:
        """See `sites.reach_of`."""
        return {"conv_output": reach_of_taps(self.kernel), "filter_output": ALL}

    def setup(self):
        declare(self)
        thirds = (self.width,) * 3
        self.in_proj = Projection(self.width, thirds, True, initializers.dense)
        self.short_conv = ShortConvolution(3 * self.width, self.kernel)
        self.filter = SineFilter(self.width, self.max_length, self.order)
        self.D = self.param("D", nn.initializers.normal(1.0), (self.width,))
        self.out_proj = nn.Dense(self.width, kernel_init=initializers.into_residual(self.layers))

    def _factors(self, x1: Array, x2: Array, v: Array) -> tuple[Array, Array]:
        """The gate x2, and the input x1 v of the long convolution."""
        return self.gate(x2), self.filter_input(self.input_gate(x1) * v)

    def _convolved(self, x: Array) -> list[Array]:
        """x1, x2 and v of all tokens, after the short convolution."""
        if apart(self.width, self.conv_input, self.conv_output):
            return self.short_conv.parts(self.in_proj.parts(x), (MODEL,) * 3)
        u = self.conv_input(self.in_proj(x))
        return jnp.split(self.conv_output(self.short_conv(u)), 3, axis=-1)

    def _read(self, x2: Array, convolved: Array, v: Array) -> Array:
        """Output projection of the gated long convolution."""
        if self.skip:
            convolved = convolved + beside(self.D, v) * v
        return self.out_proj(x2 * convolved)

    def __call__(
        self,
        x: Float[Array, "batch length width"],
        positions: Int[Array, "batch queries"] | None = None,
    ) -> Float[Array, "batch positions width"]:
        """Mix all tokens at once; return the outputs at `positions`, or all if it is None."""
        x2, v = self._factors(*self._convolved(x))
        filter = self.filter(x.shape[1])
        convolved = self.filter_output(long_convolution(v, filter, positions=positions))
        return self._read(at_positions(x2, positions), convolved, at_positions(v, positions))

    def initial_state(self, batch: int, max_length: int) -> dict[str, PyTree]:
        """Empty states of the two convolutions."""
        return {
            "long_conv": long_convolution_state(batch, max_length, self.width),
            "short_conv": self.short_conv.initial_state(batch),
        }

    def step(
        self, state: dict[str, PyTree], x_t: Float[Array, "batch width"]
    ) -> tuple[dict[str, PyTree], Float[Array, "batch width"]]:
        """Mix one token; return the next state and the output."""
        window, u = self.short_conv.step(state["short_conv"], self.in_proj(x_t))
        x2, v = self._factors(*jnp.split(self.conv_output(u), 3, axis=-1))
        past, convolved = long_convolution_step(state["long_conv"], v, self.filter)
        return {"long_conv": past, "short_conv": window}, self._read(x2, convolved, v)
