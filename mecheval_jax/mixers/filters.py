"""Filters of long convolutions: computed from the position by a network, or free parameters.

    z[t] = [t / (l_max - 1), cos(f w), -sin(f w)],   w = 2 pi t / l_max,   f = 1e-4

are the position features of Hyena (Poli et al. 2023) at their initial values; they are trained
like any other parameter. The length limit l_max sets the filter's time scale.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from mecheval_jax.array_types import Array, Float, Key
from mecheval_jax.errors import UserError
from mecheval_jax.mixers import initializers

FEATURES = 3
FREQUENCY = 1e-4


def linspace(start: float, stop: float, count: int) -> np.ndarray:
    """Evenly spaced float32 points as PyTorch computes them: from both ends, rounded once.

    NumPy's differ in the last bit, which a comparison in float64 would detect.
    """
    low, high = np.float32(start), np.float32(stop)
    step = float((high - low) / np.float32(max(count - 1, 1)))
    index = np.arange(count)
    # float64 emulates a fused multiply-add: the product is exact.
    upward = low + step * index
    downward = high - step * (count - 1 - index)
    return np.where(index < count / 2, upward, downward).astype(np.float32)


def position_features(
    key: Key, shape: Sequence[int], dtype: DTypeLike = jnp.float32
) -> Float[Array, "max_length features"]:
    """Initial value of the features z, as an initializer of Flax; `key` is not used."""
    del key
    max_length = shape[0]
    angle = FREQUENCY * 2 * np.pi * np.arange(max_length) / max_length
    features = [np.linspace(0, 1, max_length), np.cos(angle), -np.sin(angle)]
    return jnp.asarray(np.stack(features, axis=-1), dtype)


def hyena_rates(width: int) -> np.ndarray:
    """Rates of Hyena's window, negative: decay to 0.01 within 150 % to 30 % of the length limit."""
    return linspace(np.log(0.01) / 1.5, np.log(0.01) / 0.3, width)


def check_length(length: int, max_length: int) -> None:
    """Raise UserError if a sequence is longer than the filter."""
    if length > max_length:
        raise UserError(f"{length} tokens, but this filter was built for max_length {max_length}")


class ReluFilter(nn.Module):
    """BaseConv's filter: fc2(relu(fc1(z))), of widths 3, `hidden` and `width`."""

    width: int
    max_length: int
    hidden: int = 16

    def setup(self):
        self.features = self.param("features", position_features, (self.max_length, FEATURES))
        self.fc1 = nn.Dense(self.hidden, kernel_init=initializers.dense)
        self.fc2 = nn.Dense(self.width, kernel_init=initializers.dense)

    def __call__(self, length: int) -> Float[Array, "length width"]:
        """The filter's first `length` taps."""
        check_length(length, self.max_length)
        return self.fc2(jax.nn.relu(self.fc1(self.features[:length])))


class SineFilter(nn.Module):
    """Hyena's filter: three layers with sin(frequency h), a linear one, then a decaying window.

    The three sines share one trained `frequency`. The window of channel c is exp(-t |delta_c|),
    with delta_c evenly spaced such that the channels decay to 0.01 within 30 % to 150 % of
    the length limit.

    Attributes:
        width: Number of channels.
        max_length: Length limit in tokens.
        order: Width of the hidden layers.
    """

    width: int
    max_length: int
    order: int = 64

    def setup(self):
        self.features = self.param("features", position_features, (self.max_length, FEATURES))
        self.frequency = self.param("frequency", nn.initializers.ones, (self.order,))
        self.fc1, self.fc2, self.fc3 = (
            nn.Dense(self.order, kernel_init=initializers.dense) for _ in range(3)
        )
        self.fc4 = nn.Dense(self.width, use_bias=False, kernel_init=initializers.dense)

    def __call__(self, length: int) -> Float[Array, "length width"]:
        """The filter's first `length` taps."""
        check_length(length, self.max_length)
        h = self.features[:length]
        for layer in (self.fc1, self.fc2, self.fc3):
            h = jnp.sin(self.frequency[None] * layer(h))
        time = linspace(0, 1, self.max_length)[:length]
        rate = np.abs(hyena_rates(self.width))
        window = jnp.exp(-(jnp.asarray(time, h.dtype)[:, None] * jnp.asarray(rate, h.dtype)[None]))
        return self.fc4(h) * window


class ExplicitFilter(nn.Module):
    """A filter whose taps are parameters, initially N(0, 1), cut to the length of the sequence.

    The circular convolution of the reference code (Zoology) reads future tokens if its filter is
    longer than the sequence; a filter that is cut cannot.
    """

    width: int
    max_length: int

    def setup(self):
        self.taps = self.param("taps", nn.initializers.normal(1.0), (self.max_length, self.width))

    def __call__(self, length: int) -> Float[Array, "length width"]:
        """The filter's first `length` taps."""
        check_length(length, self.max_length)
        return self.taps[:length]
