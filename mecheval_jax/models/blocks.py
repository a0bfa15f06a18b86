"""Layer of a model: a mixer and a feed-forward part, each on a normalised residual stream.

    r <- r + mixer(norm(r));    r <- r + feed_forward(norm(r))

The norms are LayerNorm in the study, with eps 1e-5. A Mamba block has RMSNorm and no second half.
There are two variants: both halves may read the same r (parallel, GPT-NeoX), and a residual
convolution x <- x + conv(x) may stand before the mixer ("Canon", Allen-Zhu 2025).
"""

import dataclasses

import flax.linen as nn
import jax

from mecheval_jax.array_types import Array, Float, Int, PyTree
from mecheval_jax.mesh_axes import DOCUMENTS, spread
from mecheval_jax.mixers.short_convolution import ShortConvolution
from mecheval_jax.models.feed_forward import FEED_FORWARD, FeedForwardConfig
from mecheval_jax.ops.positions import at_positions
from mecheval_jax.sites import Site

COMPONENTS = (
    "block_input",
    "mixer_input",
    "canon_output",
    "mixer_output",
    "mlp_input",
    "mlp_output",
    "block_output",
)
"""Sites of a block, in the order of the computation."""

NORMS = ("layer", "rms")


@dataclasses.dataclass(frozen=True)
class BlockConfig:
    """Shape of a block around its mixer.

    Attributes:
        feed_forward: Shape of the feed-forward part.
        norm: Kind of the norms, ``layer`` or ``rms``.
        epsilon: Epsilon of the norms.
        canon: Number of taps of the residual convolution before the mixer; 0 for none.
        parallel: Whether both halves read the block's input.
    """

    feed_forward: FeedForwardConfig
    norm: str = "layer"
    epsilon: float = 1e-5
    canon: int = 0
    parallel: bool = False

    @property
    def components(self) -> tuple[str, ...]:
        """Those of `COMPONENTS` that the block has."""
        absent = {"canon_output"} if not self.canon else set()
        absent |= {"mlp_input", "mlp_output"} if self.feed_forward.kind == "none" else set()
        return tuple(name for name in COMPONENTS if name not in absent)


def norm(kind: str, epsilon: float = 1e-5) -> nn.Module:
    """LayerNorm with a bias, or RMSNorm.

    The variance is computed from the centred values (PyTorch's way): the faster form
    E[x^2] - E[x]^2 loses digits where the mean is large.
    """
    if kind == "rms":
        return nn.RMSNorm(epsilon=epsilon)
    return nn.LayerNorm(epsilon=epsilon, use_fast_variance=False)


class Block(nn.Module):
    """A layer of the model.

    Attributes:
        mixer: Sequence mixer.
        config: Shape of the rest of the block.
    """

    mixer: nn.Module
    config: BlockConfig

    def setup(self):
        config, feed_forward = self.config, self.config.feed_forward
        self.mixer_norm = norm(config.norm, config.epsilon)
        if config.canon:
            self.canon = ShortConvolution(feed_forward.width, config.canon)
        if feed_forward.kind != "none":
            self.mlp_norm = norm(config.norm, config.epsilon)
            self.mlp = FEED_FORWARD[feed_forward.kind](feed_forward)
        for name in config.components:
            setattr(self, name, Site())

    def __call__(
        self,
        residual: Float[Array, "batch length width"],
        positions: Int[Array, "batch queries"] | None = None,
    ) -> Float[Array, "batch positions width"]:
        """Residual stream after this layer.

        With `positions`, the mixer's outputs and everything after them are computed at these
        positions only. This suffices for the last layer of a model that is read at its queries.
        """
        residual = self.block_input(residual)
        x = self.mixer_input(spread(self.mixer_norm(residual), DOCUMENTS))
        if self.config.canon:
            x = self.canon_output(x + self.canon(x))
        return self._add(at_positions(residual, positions), self.mixer(x, positions))

    def _add(
        self, residual: Float[Array, "*axes width"], mixed: Float[Array, "*axes width"]
    ) -> Float[Array, "*axes width"]:
        """Add the mixer's output and the feed-forward part to the residual stream."""
        before, residual = residual, residual + self.mixer_output(spread(mixed, DOCUMENTS))
        if self.config.feed_forward.kind != "none":
            read = before if self.config.parallel else residual
            computed = self.mlp(self.mlp_input(spread(self.mlp_norm(read), DOCUMENTS)))
            residual = residual + self.mlp_output(spread(computed, DOCUMENTS))
        return self.block_output(residual)

    def initial_state(self, batch: int, max_length: int) -> dict[str, PyTree]:
        """State of the recurrent form before the first token."""
        state = {"mixer": self.mixer.initial_state(batch, max_length)}
        return state | ({"canon": self.canon.initial_state(batch)} if self.config.canon else {})

    def step(
        self, state: dict[str, PyTree], residual: Float[Array, "batch width"]
    ) -> tuple[dict[str, PyTree], Float[Array, "batch width"]]:
        """Read one token: the next state, and the residual stream after this layer."""
        new, x = {}, self.mixer_norm(residual)
        if self.config.canon:
            new["canon"], convolved = self.canon.step(state["canon"], x)
            x = x + convolved
        new["mixer"], mixed = self.mixer.step(state["mixer"], x)
        return new, self._add(residual, mixed)


REMAT = {
    "none": None,
    "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
    "full": jax.checkpoint_policies.nothing_saveable,
}
"""What the gradient stores of a block: everything, outputs of dense layers, or only the input."""


def rematerialized(remat: str) -> type[Block]:
    """Class of a block whose gradient recomputes what `REMAT` does not store."""
    policy = REMAT[remat]
    return Block if policy is None else nn.remat(Block, policy=policy)
