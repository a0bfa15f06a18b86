"""One layer: a mixer and a feed-forward part, each on a normalised residual stream.

    r <- r + mixer(norm(r));    r <- r + feed_forward(LN(r))

with LayerNorm, or in a Mamba block RMSNorm and no second half; eps 1e-5 throughout.
"""

import flax.linen as nn

from mecheval_jax.array_types import Array, Float, Int
from mecheval_jax.models.feed_forward import FEED_FORWARD
from mecheval_jax.ops.positions import at_positions
from mecheval_jax.sites import Site

EPSILON = 1e-5
MIXER_COMPONENTS = ("block_input", "mixer_input", "mixer_output", "block_output")
FEED_FORWARD_COMPONENTS = ("mlp_input", "mlp_output")


def components(feed_forward: str) -> tuple[str, ...]:
    """The sites of a block in the order of the computation."""
    before, after = MIXER_COMPONENTS[:3], MIXER_COMPONENTS[3:]
    return before + (() if feed_forward == "none" else FEED_FORWARD_COMPONENTS) + after


def layer_norm() -> nn.LayerNorm:
    """LayerNorm as the study has it.

    The variance is computed from the centred values (PyTorch's way): the faster form
    E[x^2] - E[x]^2 loses digits where the mean is large.
    """
    return nn.LayerNorm(epsilon=EPSILON, use_fast_variance=False)


class Block(nn.Module):
    """A layer of the model.

    Attributes:
        mixer: the sequence mixer.
        width: channels of the residual stream.
        layers: depth of the model.
        feed_forward: ``mlp``, ``glu``, ``identity`` or ``none``.
        rms_norm: RMSNorm before the mixer instead of LayerNorm.
    """

    mixer: nn.Module
    width: int
    layers: int
    feed_forward: str
    rms_norm: bool

    def setup(self):
        self.mixer_norm = nn.RMSNorm(epsilon=EPSILON) if self.rms_norm else layer_norm()
        if self.feed_forward != "none":
            self.mlp_norm = layer_norm()
            self.mlp = FEED_FORWARD[self.feed_forward](self.width, self.layers)
            self.mlp_input, self.mlp_output = Site(), Site()
        self.block_input, self.block_output = Site(), Site()
        self.mixer_input, self.mixer_output = Site(), Site()

    def __call__(
        self,
        residual: Float[Array, "batch length width"],
        positions: Int[Array, "batch queries"] | None = None,
    ) -> Float[Array, "batch positions width"]:
        """The residual stream after this layer.

        With `positions`, the mixer's outputs and all that follows are computed there
        alone, and the result has those positions only: enough for the last layer of a
        model that is read at its queries.
        """
        residual = self.block_input(residual)
        mixed = self.mixer(self.mixer_input(self.mixer_norm(residual)), positions)
        residual = at_positions(residual, positions) + self.mixer_output(mixed)
        if self.feed_forward != "none":
            hidden = self.mlp(self.mlp_input(self.mlp_norm(residual)))
            residual = residual + self.mlp_output(hidden)
        return self.block_output(residual)
