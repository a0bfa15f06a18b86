"""Feed-forward part of a block: MLP, GLU, identity or none.

    MLP:  fc2(f(fc1 x)),  hidden width 4 d by default        GLU:  fc3(fc1 x * f(fc2 x))

In the study f is the exact (erf) GELU, and the layers have biases. The projection into the
residual stream is scaled at initialisation. ``identity`` returns its input, so that the block adds
LN2(r), as the code of the study does if no state mixer is given; ``none`` leaves the part out.
"""

import dataclasses
import functools

import flax.linen as nn
import jax

from mecheval_jax.array_types import Array, Float
from mecheval_jax.mixers import initializers

KINDS = ("mlp", "glu", "identity", "none")

ACTIVATIONS = {
    "gelu": functools.partial(jax.nn.gelu, approximate=False),
    "gelu_tanh": functools.partial(jax.nn.gelu, approximate=True),
    "silu": jax.nn.silu,
    "relu": jax.nn.relu,
}

EXPANSION = 4
"""Default ratio of the hidden width to the width of the residual stream."""


@dataclasses.dataclass(frozen=True)
class FeedForwardConfig:
    """Shape of the feed-forward part.

    Attributes:
        kind: Kind of the part, ``mlp``, ``glu``, ``identity`` or ``none``.
        width: Number of channels of the residual stream.
        layers: Number of layers of the model.
        hidden: Inner width; 0 for four times the width.
        activation: Name of the activation function in `ACTIVATIONS`.
        bias: Whether the dense layers have biases.
    """

    kind: str
    width: int
    layers: int
    hidden: int = 0
    activation: str = "gelu"
    bias: bool = True

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

    def __call__(self, x: Float[Array, "*axes width"]) -> Float[Array, "*axes width"]:
        return self.fc2(ACTIVATIONS[self.config.activation](self.fc1(x)))


class GLU(nn.Module):
    """Gated MLP. Only the output projection is rescaled at initialisation, not the gate."""

    config: FeedForwardConfig

    def setup(self):
        self.fc1, self.fc2 = self.config.dense(), self.config.dense()
        self.fc3 = self.config.dense_out()

    def __call__(self, x: Float[Array, "*axes width"]) -> Float[Array, "*axes width"]:
        return self.fc3(self.fc1(x) * ACTIVATIONS[self.config.activation](self.fc2(x)))


class Identity(nn.Module):
    """Feed-forward part that returns its input."""

    config: FeedForwardConfig

    def __call__(self, x: Float[Array, "*axes width"]) -> Float[Array, "*axes width"]:
        return x


FEED_FORWARD: dict[str, type[nn.Module]] = {"mlp": MLP, "glu": GLU, "identity": Identity}
