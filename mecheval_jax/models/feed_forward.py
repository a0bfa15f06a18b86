"""The position-wise half of a block: MLP, GLU, or the reference's "Identity".

    MLP:  fc2(gelu(fc1 x)),  hidden width 4 d        GLU:  fc3(fc1 x * gelu(fc2 x))

with the exact (erf) GELU, biases, and the projection into the residual stream scaled
at initialisation. ``identity`` returns its input, so that the block adds LN2(r): the
reference's behaviour where no state mixer is asked for, kept for parity; ``none`` leaves
the whole half out.
"""

import flax.linen as nn
import jax

from mecheval_jax.array_types import Array, Float
from mecheval_jax.mixers import initializers

KINDS = ("mlp", "glu", "identity", "none")
EXPANSION = 4


class MLP(nn.Module):
    """Two dense layers with a GELU between them."""

    width: int
    layers: int

    def setup(self):
        self.fc1 = nn.Dense(EXPANSION * self.width, kernel_init=initializers.dense)
        self.fc2 = nn.Dense(self.width, kernel_init=initializers.into_residual(self.layers))

    def __call__(self, x: Float[Array, "batch length width"]) -> Float[Array, "batch length width"]:
        return self.fc2(jax.nn.gelu(self.fc1(x), approximate=False))


class GLU(nn.Module):
    """A gated MLP. Only the output projection is rescaled, not the gate."""

    width: int
    layers: int

    def setup(self):
        self.fc1 = nn.Dense(EXPANSION * self.width, kernel_init=initializers.dense)
        self.fc2 = nn.Dense(EXPANSION * self.width, kernel_init=initializers.dense)
        self.fc3 = nn.Dense(self.width, kernel_init=initializers.into_residual(self.layers))

    def __call__(self, x: Float[Array, "batch length width"]) -> Float[Array, "batch length width"]:
        return self.fc3(self.fc1(x) * jax.nn.gelu(self.fc2(x), approximate=False))


class Identity(nn.Module):
    """Returns its input."""

    width: int
    layers: int

    def __call__(self, x: Float[Array, "batch length width"]) -> Float[Array, "batch length width"]:
        return x


FEED_FORWARD: dict[str, type[nn.Module]] = {"mlp": MLP, "glu": GLU, "identity": Identity}
