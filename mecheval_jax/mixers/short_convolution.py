"""Local operations of mixers, as modules: what a token takes from the few before it.

`ShortConvolution` is a causal depthwise convolution with a few taps, `TokenShift` the previous
token. Both are computed for all tokens at once or for one, with a window of inputs for a state.
"""

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from mecheval_jax.array_types import Array, Float, PyTree
from mecheval_jax.errors import UserError
from mecheval_jax.mesh_axes import MODEL
from mecheval_jax.mixers import initializers
from mecheval_jax.mixers.projection import is_cut, slices
from mecheval_jax.ops.short_convolution import (
    shifted,
    short_convolution,
    short_convolution_step,
)


class ShortConvolution(nn.Module):
    """A causal depthwise convolution; see `ops.short_convolution` for the equation.

    Attributes:
        width: Number of channels.
        kernel: Number of taps; 0 for none: all passes as it is, and there are no parameters.
        use_bias: Whether a bias is added.
    """

    width: int
    kernel: int
    use_bias: bool = True

    def __post_init__(self):
        if self.kernel < 0:
            raise UserError(f"a short convolution of {self.kernel} taps: at least 0")
        super().__post_init__()

    def setup(self):
        if not self.kernel:
            return
        # Taps and bias are uniform on +-1/sqrt(kernel), as in PyTorch.
        self.weight = self.param("weight", initializers.uniform_fan_in, (self.kernel, self.width))
        bias = initializers.uniform(self.kernel**-0.5)
        self.bias = self.param("bias", bias, (self.width,)) if self.use_bias else None

    def __call__(self, x: Float[Array, "batch length width"]) -> Float[Array, "batch length width"]:
        """Convolve all tokens at once."""
        return short_convolution(x, self.weight, self.bias) if self.kernel else x

    def parts(
        self, xs: Sequence[Float[Array, "batch length _"]], layout: Sequence[str | None]
    ) -> list[Float[Array, "batch length _"]]:
        """Convolve parts of the channels, each with its own taps.

        Args:
            xs: Parts, in the order of the channels.
            layout: Mesh axis along which each part is spread; see `mixers.projection.slices`.
        """
        if not self.kernel:
            return list(xs)
        sizes = [x.shape[-1] for x in xs]
        weights = slices(self.weight, sizes, layout)
        biases = slices(self.bias, sizes, layout) if self.use_bias else [None] * len(xs)
        return list(map(short_convolution, xs, weights, biases))

    def initial_state(self, batch: int) -> Float[Array, "batch past width"]:
        """Window of inputs before the first token: zeros."""
        return jnp.zeros((batch, reach_of_taps(self.kernel), self.width))

    def step(
        self, window: Float[Array, "batch past width"], x_t: Float[Array, "batch width"]
    ) -> tuple[Float[Array, "batch past width"], Float[Array, "batch width"]]:
        """Convolve one token; return the next window and the output."""
        if not self.kernel:
            return window, x_t
        return short_convolution_step(window, x_t, self.weight, self.bias)


def reach_of_taps(taps: int) -> int:
    """Number of earlier tokens that a short convolution mixes into each; see `sites.reach_of`."""
    return max(taps - 1, 0)


def shift_one(
    previous: Float[Array, "batch width"], x_t: Float[Array, "batch width"]
) -> tuple[Float[Array, "batch width"], Float[Array, "batch width"]]:
    """Shift one token: what is kept of it, in the dtype of the state, and the token before it."""
    return x_t.astype(previous.dtype), previous.astype(x_t.dtype)


class TokenShift(nn.Module):
    """The input of the token before, zeros at the first.

    Attributes:
        width: Number of channels.
    """

    width: int

    def parts(
        self, xs: Sequence[Float[Array, "batch length _"]], layout: Sequence[str | None]
    ) -> list[Float[Array, "batch length _"]]:
        """Shift parts of the channels by a token; their layout stays what it is."""
        del layout
        return list(map(shifted, xs))

    def initial_state(self, batch: int) -> Float[Array, "batch 1 width"]:
        """Input before the first token: zeros."""
        return jnp.zeros((batch, 1, self.width))

    def step(
        self, window: Float[Array, "batch 1 width"], x_t: Float[Array, "batch width"]
    ) -> tuple[Float[Array, "batch 1 width"], Float[Array, "batch width"]]:
        """Shift one token; return the next window and the input of the token before."""
        kept, before = shift_one(window[:, 0], x_t)
        return kept[:, None], before


Local = Callable[[str, Sequence[Array]], list[Array]]
"""Function that applies the local operation of a name to parts [batch, length, _] of its channels,
of all tokens or of one."""

OF_THE_STREAM = ("canon", "mlp_canon", "mlp_shift")
"""Names of local operations on the residual stream, of which every device has all channels."""

OPERATIONS = (*OF_THE_STREAM, "hidden_canon", "qkv_canon", "k_shift", "v_shift")
OPERATIONS += ("q_conv", "k_conv", "v_conv", "w_conv")
"""Names that local operations have in the blocks and mixers which apply them by `Local`."""


def apply_to_all(mixer: nn.Module) -> Local:
    """The local operations of a mixer or block on all tokens, spread as their inputs are."""

    def local(name: str, xs: Sequence[Array]) -> list[Array]:
        whole = name in OF_THE_STREAM or not is_cut(mixer)
        return getattr(mixer, name).parts(xs, (None if whole else MODEL,) * len(xs))

    return local


def apply_to_one(mixer: nn.Module, state: dict[str, PyTree]) -> Local:
    """The local operations of a mixer on one token; each replaces its window in `state`."""

    def local(name: str, xs: Sequence[Array]) -> list[Array]:
        joint = jnp.concatenate(xs, axis=-1)[:, 0]
        state[name], y = getattr(mixer, name).step(state[name], joint)
        ends = np.cumsum([x.shape[-1] for x in xs])[:-1].tolist()
        return jnp.split(y[:, None], ends, axis=-1)

    return local


def local_states(mixer: nn.Module, batch: int) -> dict[str, Array]:
    """Windows of the local operations of a mixer before the first token."""
    found = {name: getattr(mixer, name, None) for name in OPERATIONS}
    return {
        name: operation.initial_state(batch)
        for name, operation in found.items()
        if isinstance(operation, nn.Module)  # a mixer's option may have the name as well
    }
