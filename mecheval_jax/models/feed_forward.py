"""Feed-forward part of a block: MLP, GLU, channel mix, identity or none.

    MLP:  fc2(f(fc1 x)),  hidden width 4 d by default        GLU:  fc3(fc1 x * f(fc2 x))
    channel mix:  fc2(relu(fc1(x + m (x[t-1] - x)))^2)       (RWKV-7, without biases)

In the study f is the exact (erf) GELU, and the layers have biases. The projection into the
residual stream is scaled at initialisation. ``identity`` returns its input, so that the block adds
LN2(r), as the code of the study does if no state mixer is given; ``none`` leaves the part out.
"""

import dataclasses
import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Float
from mecheval_jax.mixers import initializers
from mecheval_jax.ops.precision import beside

KINDS = ("mlp", "glu", "channel_mix", "identity", "none")

ACTIVATIONS = {
    "gelu": functools.partial(jax.nn.gelu, approximate=False),
    "gelu_tanh": functools.partial(jax.nn.gelu, approximate=True),
    "silu": jax.nn.silu,
    "relu": jax.nn.relu,
}

Hidden = Callable[[list[Array]], list[Array]] | None
"""What is done with hidden layers before their activation and product; None for nothing."""

EXPANSION = 4
"""Default ratio of the hidden width to the width of the residual stream."""


@dataclasses.dataclass(frozen=True)
class FeedForwardConfig:
    """Shape of the feed-forward part.

    Attributes:
        kind: Kind of the part, ``mlp``, ``glu``, ``channel_mix``, ``identity`` or ``none``.
        width: Number of channels of the residual stream.
        layers: Number of layers of the model.
        hidden: Inner width; 0 for four times the width.
        activation: Name of the activation function in `ACTIVATIONS`.
        bias: Whether the dense layers have biases.
        layer: Index of the layer, on which the initial mixture of ``channel_mix`` depends.
    """

    kind: str
    width: int
    layers: int
    hidden: int = 0
    activation: str = "gelu"
    bias: bool = True
    layer: int = 0

    @property
    def shifts(self) -> bool:
        """Whether the part mixes each token with the one before it."""
        return self.kind == "channel_mix"

    @property
    def has_hidden(self) -> bool:
        """Whether the part has hidden layers."""
        return self.kind in ("mlp", "glu", "channel_mix")

    @property
    def hidden_channels(self) -> int:
        """Number of channels of all hidden layers together."""
        return (self.hidden or EXPANSION * self.width) * (2 if self.kind == "glu" else 1)

    def dense(self) -> nn.Dense:
        """Dense layer into the hidden width."""
        hidden = self.hidden or EXPANSION * self.width
        return nn.Dense(hidden, use_bias=self.bias, kernel_init=initializers.dense)

    def dense_out(self) -> nn.Dense:
        """Dense layer into the residual stream."""
        scaled = initializers.into_residual(self.layers)
        return nn.Dense(self.width, use_bias=self.bias, kernel_init=scaled)


class MLP(nn.Module):
    """Two dense layers with an activation between them."""

    config: FeedForwardConfig

    def setup(self):
        self.fc1, self.fc2 = self.config.dense(), self.config.dense_out()

    def __call__(
        self, x: Float[Array, "*axes width"], hidden: Hidden = None
    ) -> Float[Array, "*axes width"]:
        (h,) = hidden([self.fc1(x)]) if hidden else (self.fc1(x),)
        return self.fc2(ACTIVATIONS[self.config.activation](h))


class GLU(nn.Module):
    """Gated MLP. Only the output projection is rescaled at initialisation, not the gate."""

    config: FeedForwardConfig

    def setup(self):
        self.fc1, self.fc2 = self.config.dense(), self.config.dense()
        self.fc3 = self.config.dense_out()

    def __call__(
        self, x: Float[Array, "*axes width"], hidden: Hidden = None
    ) -> Float[Array, "*axes width"]:
        parts = [self.fc1(x), self.fc2(x)]
        h, gate = hidden(parts) if hidden else parts
        return self.fc3(h * ACTIVATIONS[self.config.activation](gate))


class ChannelMix(nn.Module):
    """The channel mixing of RWKV-7: an MLP of a mixture of two tokens, with a squared ReLU."""

    config: FeedForwardConfig

    WITHOUT_DECAY = ("x_k",)

    def setup(self):
        width, rest = self.config.width, 1 - self.config.layer / self.config.layers
        start = 1 - (jnp.arange(width) / width) ** rest**4
        self.x_k = self.param("x_k", lambda key: start)
        orthogonal, zeros = nn.initializers.orthogonal(), nn.initializers.zeros
        hidden = self.config.hidden_channels
        self.fc1 = nn.Dense(hidden, use_bias=False, kernel_init=orthogonal)
        self.fc2 = nn.Dense(width, use_bias=False, kernel_init=zeros)

    def mixed(
        self, x: Float[Array, "*axes width"], previous: Float[Array, "*axes width"]
    ) -> Float[Array, "*axes width"]:
        """The mixture of a token and the one before it."""
        return x + beside(self.x_k, x) * (previous - x)

    def __call__(
        self, x: Float[Array, "*axes width"], hidden: Hidden = None
    ) -> Float[Array, "*axes width"]:
        """Feed-forward part of a mixture."""
        (h,) = hidden([self.fc1(x)]) if hidden else (self.fc1(x),)
        return self.fc2(jnp.square(jax.nn.relu(h)))


class Identity(nn.Module):
    """Feed-forward part that returns its input."""

    config: FeedForwardConfig

    def __call__(
        self, x: Float[Array, "*axes width"], hidden: Hidden = None
    ) -> Float[Array, "*axes width"]:
        return x


FEED_FORWARD: dict[str, type[nn.Module]] = {
    "mlp": MLP,
    "glu": GLU,
    "channel_mix": ChannelMix,
    "identity": Identity,
}
