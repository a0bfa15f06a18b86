"""BaseConv: a gated convolution (Arora et al. 2023, "Zoology").

    y = conv(x) * (W x + b) + x

`conv` is a short causal convolution, or a long one, conv(x) = k (*) x + x with (*) the causal
convolution. Its filter k is computed from the position by a small network (implicit) or is a
parameter (explicit). The long convolution adds its own input, the mixer adds its input, and the
block adds the residual: three identity paths.
"""

import flax.linen as nn
import jax

from mecheval_jax.array_types import Array, Float, Int, PyTree
from mecheval_jax.errors import UserError
from mecheval_jax.mixers import initializers
from mecheval_jax.mixers.filters import ExplicitFilter, ReluFilter
from mecheval_jax.mixers.short_convolution import ShortConvolution, reach_of_taps
from mecheval_jax.ops.long_convolution import (
    long_convolution,
    long_convolution_state,
    long_convolution_step,
)
from mecheval_jax.ops.positions import at_positions
from mecheval_jax.sites import ALL, declare

FILTERS = {"implicit": ReluFilter, "explicit": ExplicitFilter}


class BaseConv(nn.Module):
    """A gated convolution.

    Attributes:
        width: Number of channels of the residual stream.
        max_length: Length limit in tokens, the number of taps of a long filter.
        kernel: Number of taps of the short convolution, or ``implicit`` or ``explicit`` for a
            long one.
        activation: Whether both factors pass through a silu.
    """

    width: int
    max_length: int
    kernel: int | str = 3
    activation: bool = False

    CUT = False
    SITES = {
        "conv_output": "output of the convolution",
        "gate": "factor that multiplies the output of the convolution",
    }

    @nn.nowrap
    def local_reach(self) -> dict[str, float]:
        """See `sites.reach_of`."""
        taps = self.kernel
        return {"conv_output": ALL if isinstance(taps, str) else reach_of_taps(taps)}

    def __post_init__(self):
        kernel = self.kernel
        if kernel not in FILTERS if isinstance(kernel, str) else kernel < 1:
            raise UserError(
                f"base_conv: kernel {kernel!r}: at least 1 tap, or {' or '.join(FILTERS)}"
            )
        super().__post_init__()

    def setup(self):
        declare(self)
        self.projection = nn.Dense(self.width, kernel_init=initializers.dense)
        if isinstance(self.kernel, str):
            self.filter = FILTERS[self.kernel](self.width, self.max_length)
        else:
            self.conv = ShortConvolution(self.width, self.kernel)

    def _gated(self, x: Array, convolved: Array) -> Array:
        activation = jax.nn.silu if self.activation else lambda h: h
        return activation(convolved) * activation(self.gate(self.projection(x))) + x

    def __call__(
        self,
        x: Float[Array, "batch length width"],
        positions: Int[Array, "batch queries"] | None = None,
    ) -> Float[Array, "batch positions width"]:
        """Mix all tokens at once; return the outputs at `positions`, or all if it is None."""
        own = at_positions(x, positions)
        if isinstance(self.kernel, str):
            taps = self.filter(x.shape[1])
            convolved = long_convolution(x, taps, inner=False, positions=positions) + own
        else:
            convolved = at_positions(self.conv(x), positions)
        return self._gated(own, self.conv_output(convolved))

    def initial_state(self, batch: int, max_length: int) -> PyTree:
        """Inputs so far, none yet: a window of them, or all."""
        if isinstance(self.kernel, str):
            return long_convolution_state(batch, max_length, self.width)
        return self.conv.initial_state(batch)

    def step(
        self, state: PyTree, x_t: Float[Array, "batch width"]
    ) -> tuple[PyTree, Float[Array, "batch width"]]:
        """Mix one token; return the next state and the output."""
        if isinstance(self.kernel, str):
            state, convolved = long_convolution_step(state, x_t, self.filter)
            return state, self._gated(x_t, convolved + x_t)
        state, convolved = self.conv.step(state, x_t)
        return state, self._gated(x_t, convolved)
