"""One layer: a mixer and a feed-forward part, each on a normalised residual stream.

    r <- r + mixer(norm(r));    r <- r + feed_forward(norm(r))

with LayerNorm in the study, or in a Mamba block RMSNorm and no second half; eps 1e-5. Two
variants: in a parallel block both halves read the same r (GPT-NeoX), and a residual
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
"""The sites of a block in the order of the computation."""
NORMS = ("layer", "rms")


@dataclasses.dataclass(frozen=True)
class BlockConfig:
    """Shape of a block around its mixer.

    Attributes:
        feed_forward: shape of the second half.
        norm: ``layer`` or ``rms``.
        epsilon: of the norms.
        canon: taps of the residual convolution before the mixer; 0 for none.
        parallel: whether both halves read the block's input.
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
        mixer: the sequence mixer.
        config: the shape of all else.
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
        """The residual stream after this layer.

        With `positions`, the mixer's outputs and all that follows are computed there
        alone, and the result has those positions only: enough for the last layer of a
        model that is read at its queries.
        """
        residual = self.block_input(residual)
        x = self.mixer_input(spread(self.mixer_norm(residual), DOCUMENTS))
        if self.config.canon:
            x = self.canon_output(x + self.canon(x))
        return self._add(at_positions(residual, positions), self.mixer(x, positions))

    def _add(self, residual, mixed):
        before, residual = residual, residual + self.mixer_output(spread(mixed, DOCUMENTS))
        if self.config.feed_forward.kind != "none":
            read = before if self.config.parallel else residual
            computed = self.mlp(self.mlp_input(spread(self.mlp_norm(read), DOCUMENTS)))
            residual = residual + self.mlp_output(spread(computed, DOCUMENTS))
        return self.block_output(residual)

    def initial_state(self, batch: int, max_length: int) -> dict[str, PyTree]:
        """The state of the recurrent form before the first token."""
        state = {"mixer": self.mixer.initial_state(batch, max_length)}
        return state | ({"canon": self.canon.initial_state(batch)} if self.config.canon else {})

    def step(
        self, state: dict[str, PyTree], residual: Float[Array, "batch width"]
    ) -> tuple[dict[str, PyTree], Float[Array, "batch width"]]:
        """One token: the next state and the residual stream after this layer."""
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
"""What a gradient keeps of a block: all of it; outputs of its dense layers; its input."""


def rematerialized(remat: str) -> type[Block]:
    """`Block`, or one whose gradient computes again what `REMAT` does not keep."""
    policy = REMAT[remat]
    return Block if policy is None else nn.remat(Block, policy=policy)
