"""Layer of a model: a mixer and a feed-forward part, each on a normalised residual stream.

    r <- r + mixer(norm(r));    r <- r + feed_forward(norm(r))

The norms are LayerNorm in the study, with eps 1e-5. A Mamba block has RMSNorm and no second half.
There are two variants. Both halves may read the same r (parallel, GPT-NeoX). Residual convolutions
x <- x + conv(x) may stand before the mixer, before the feed-forward part and behind its first
layers ("Canon" A, C and D, Allen-Zhu 2025); Canon-B is inside the mixers of softmax attention, GLA,
RetNet and the delta family (`mixers.canon`).
"""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Float, Int, PyTree
from mecheval_jax.mesh_axes import DOCUMENTS, spread
from mecheval_jax.mixers.short_convolution import (
    Local,
    ShortConvolution,
    TokenShift,
    apply_to_all,
    apply_to_one,
    local_states,
)
from mecheval_jax.models.feed_forward import FEED_FORWARD, FeedForwardConfig
from mecheval_jax.ops.positions import at_positions
from mecheval_jax.sites import Site, hands_on

COMPONENTS = (
    "block_input",
    "mixer_input",
    "canon_output",
    "mixer_output",
    "mlp_input",
    "mlp_canon_output",
    "hidden_canon_output",
    "mlp_output",
    "block_output",
)
"""Sites of a block, in the order of the computation."""

NORMS = ("layer", "rms", "none")
CANON = "ABCD"
"""Places of residual convolutions: before the mixer, in it, before the feed-forward part, in it."""

CANON_SITES = {"canon_output": "A", "mlp_canon_output": "C", "hidden_canon_output": "D"}
"""Sites after the residual convolutions, and the places of these."""


@dataclasses.dataclass(frozen=True)
class BlockConfig:
    """Shape of a block around its mixer.

    Attributes:
        feed_forward: Shape of the feed-forward part.
        norm: Kind of the norms, ``layer``, ``rms`` or ``none``.
        epsilon: Epsilon of the norms.
        canon: Number of taps of the residual convolutions; 0 for none.
        canon_at: Places of these convolutions, letters of `CANON`.
        canon_bias: Whether they have biases.
        parallel: Whether both halves read the block's input.
    """

    feed_forward: FeedForwardConfig
    norm: str = "layer"
    epsilon: float = 1e-5
    canon: int = 0
    canon_at: str = "A"
    canon_bias: bool = True
    parallel: bool = False

    def has_canon(self, place: str) -> bool:
        """Whether there is a residual convolution at a place, a letter of `CANON`."""
        exists = {"C": self.feed_forward.kind != "none", "D": self.feed_forward.has_hidden}
        return bool(self.canon) and place in self.canon_at and exists.get(place, True)

    @property
    def reads_neighbours(self) -> bool:
        """Whether a part after the mixer does: then the mixer's output is needed at every token."""
        return self.has_canon("C") or self.has_canon("D") or self.feed_forward.shifts

    @property
    def components(self) -> tuple[str, ...]:
        """Those of `COMPONENTS` that the block has."""
        absent = {site for site, place in CANON_SITES.items() if not self.has_canon(place)}
        absent |= {"mlp_input", "mlp_output"} if self.feed_forward.kind == "none" else set()
        return tuple(name for name in COMPONENTS if name not in absent)

    def convolution(self, width: int) -> ShortConvolution:
        """A residual convolution of `width` channels."""
        return ShortConvolution(width, self.canon, self.canon_bias)


class Unnormalised(nn.Module):
    """Hands on its input in the place of a norm."""

    def __call__(self, x: Array) -> Array:
        return x


def norm(kind: str, epsilon: float = 1e-5) -> nn.Module:
    """LayerNorm with a bias, RMSNorm, or none at all, as in compiled programs.

    The variance is computed from the centred values (PyTorch's way): the faster form
    E[x^2] - E[x]^2 loses digits where the mean is large.
    """
    epsilon = float(epsilon)  # devices take no whole number beyond 32 bits
    if kind == "rms":
        return nn.RMSNorm(epsilon=epsilon)
    if kind == "none":
        return Unnormalised()
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
        if config.has_canon("A"):
            self.canon = config.convolution(feed_forward.width)
        if config.has_canon("C"):
            self.mlp_canon = config.convolution(feed_forward.width)
        if config.has_canon("D"):
            self.hidden_canon = config.convolution(feed_forward.hidden_channels)
        if feed_forward.kind != "none":
            self.mlp_norm = norm(config.norm, config.epsilon)
            self.mlp = FEED_FORWARD[feed_forward.kind](feed_forward)
        if feed_forward.shifts:
            self.mlp_shift = TokenShift(feed_forward.width)
        for name in config.components:
            setattr(self, name, Site())

    def __call__(
        self,
        residual: Float[Array, "batch length width"],
        positions: Int[Array, "batch queries"] | None = None,
        first: Float[Array, "batch length width"] | None = None,
    ) -> tuple[Float[Array, "batch positions width"], Float[Array, "batch length width"] | None]:
        """Residual stream after this layer, and what the first layer hands on to later ones.

        With `positions`, the mixer's outputs and everything after them are computed at these
        positions only. This suffices for the last layer of a model that is read at its queries.
        `first` is what the first layer has handed on (`mixers.rwkv7`), None where it does not.
        """
        residual = self.block_input(residual)
        x = self.mixer_input(spread(self.mixer_norm(residual), DOCUMENTS))
        if self.config.has_canon("A"):
            x = self.canon_output(x + self.canon(x))
        whole = self.config.reads_neighbours
        early, late = (None, positions) if whole else (positions, None)
        if hands_on(type(self.mixer)):
            mixed, first = self.mixer.mix(x, early, first)
        else:
            mixed = self.mixer(x, early)
        added = self._add(at_positions(residual, early), mixed, apply_to_all(self))
        return self.block_output(at_positions(added, late)), first

    def _add(
        self,
        residual: Float[Array, "batch length width"],
        mixed: Float[Array, "batch length width"],
        local: Local,
    ) -> Float[Array, "batch length width"]:
        """Add the mixer's output and the feed-forward part to the residual stream."""
        # What is read from a state may be wider than the stream.
        mixed = spread(mixed.astype(residual.dtype), DOCUMENTS)
        before, residual = residual, residual + self.mixer_output(mixed)
        if self.config.feed_forward.kind == "none":
            return residual
        x = self.mlp_norm(before if self.config.parallel else residual)
        x = self.mlp_input(spread(x, DOCUMENTS))
        if self.config.has_canon("C"):
            x = self.mlp_canon_output(x + local("mlp_canon", [x])[0])
        if self.config.feed_forward.shifts:
            x = self.mlp.mixed(x, *local("mlp_shift", [x]))
        hidden = functools.partial(self._convolved, local) if self.config.has_canon("D") else None
        return residual + self.mlp_output(spread(self.mlp(x, hidden), DOCUMENTS))

    def _convolved(self, local: Local, parts: list[Array]) -> list[Array]:
        """Canon-D: the hidden layers of the feed-forward part, each plus its convolution."""
        parts = [h + c for h, c in zip(parts, local("hidden_canon", parts), strict=True)]
        if not self.hidden_canon_output.in_use():
            return parts
        return jnp.split(
            self.hidden_canon_output(jnp.concatenate(parts, axis=-1)), len(parts), axis=-1
        )

    def initial_state(self, batch: int, max_length: int) -> dict[str, PyTree]:
        """State of the recurrent form before the first token."""
        return {"mixer": self.mixer.initial_state(batch, max_length)} | local_states(self, batch)

    def step(
        self,
        state: dict[str, PyTree],
        residual: Float[Array, "batch width"],
        first: Float[Array, "batch width"] | None = None,
    ) -> tuple[dict[str, PyTree], Float[Array, "batch width"], Float[Array, "batch width"] | None]:
        """Read one token: the next state, and what `__call__` returns."""
        new = dict(state)
        local = apply_to_one(self, new)
        x = self.mixer_norm(residual)
        if self.config.has_canon("A"):
            x = x + local("canon", [x[:, None]])[0][:, 0]
        if hands_on(type(self.mixer)):
            new["mixer"], mixed, first = self.mixer.step_from(state["mixer"], x, first)
        else:
            new["mixer"], mixed = self.mixer.step(state["mixer"], x)
        added = self._add(residual[:, None], mixed[:, None], local)
        return new, self.block_output(added)[:, 0], first


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
