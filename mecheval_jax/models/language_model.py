"""The language model: embedding, layers, final norm, output head tied to the embedding.

r = E[tokens] (+ P[0 .. length-1]);   r = block_i(r);   logits = LN(r) E^T
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Float, Int, PyTree
from mecheval_jax.errors import UserError, choose, require_at_least
from mecheval_jax.mixers import ARCHITECTURES, build_mixer, initializers
from mecheval_jax.models.blocks import Block, components, layer_norm
from mecheval_jax.models.feed_forward import KINDS
from mecheval_jax.ops.positions import at_positions
from mecheval_jax.sites import Site

POSITIONS = ("learned", "none")


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The shape of a model.

    Attributes:
        mixer: name of the architecture (`mixers.ARCHITECTURES`).
        layers: number of blocks.
        width: channels of the residual stream.
        vocabulary_size: rows of the embedding.
        max_length: length limit in tokens: rows of the position table and taps of
            implicit filters (the study: 1024).
        positions: ``learned`` absolute positions, or ``none``.
        feed_forward: ``mlp``, ``glu``, ``identity`` or ``none``; Mamba blocks have none.
        mixer_options: fields of the mixers that differ from the architecture's defaults.
    """

    mixer: str
    layers: int
    width: int
    vocabulary_size: int
    max_length: int
    positions: str = "none"
    feed_forward: str = "mlp"
    mixer_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        choose("mixer", self.mixer, ARCHITECTURES)
        choose("positions", self.positions, POSITIONS)
        choose("feed_forward", self.feed_forward, KINDS)
        counts = ("layers", "width", "vocabulary_size", "max_length")
        require_at_least(self, "model", counts, 1)
        for option, value in self.mixer_options.items():
            if isinstance(value, str) and option != "scan_backend":
                raise UserError(f"model.mixer_options.{option} is {value!r}: it takes a number")
            smallest = 0 if option == "d_conv" else 1  # Mamba without its convolution
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                continue
            if value != int(value) or value < smallest:
                raise UserError(
                    f"model.mixer_options.{option} is {value}: a whole number, at least {smallest}"
                )
        for layer in range(self.layers):
            self.build_mixer(layer)  # names an option that no mixer has
        heads = self.mixer_options.get("heads", 1)
        if self.width % heads:
            raise UserError(f"model.width {self.width} is not divisible by {heads} heads")

    def __hash__(self):
        return hash(tuple(str(value) for value in dataclasses.astuple(self)))

    @property
    def mamba_block(self) -> bool:
        """Whether the blocks are Mamba's: RMSNorm, no feed-forward part."""
        return ARCHITECTURES[self.mixer].mamba_block

    @property
    def components(self) -> tuple[str, ...]:
        """The canonical components of every layer, in the order of the computation."""
        return components("none" if self.mamba_block else self.feed_forward)

    def build_mixer(self, layer: int) -> nn.Module:
        """A new mixer for one layer."""
        return build_mixer(
            self.mixer,
            layer,
            layers=self.layers,
            width=self.width,
            max_length=self.max_length,
            options=self.mixer_options,
        )


class LanguageModel(nn.Module):
    """A causal language model; see the module's equations.

    Sites: ``embedding``, the components of every ``block_i``, and ``final_norm``.
    """

    config: ModelConfig

    def setup(self):
        config = self.config
        self.token_embedding = nn.Embed(
            config.vocabulary_size, config.width, embedding_init=initializers.dense
        )
        if config.positions == "learned":
            self.position_embedding = nn.Embed(
                config.max_length, config.width, embedding_init=initializers.dense
            )
        self.block = [
            Block(
                config.build_mixer(layer),
                config.width,
                config.layers,
                "none" if config.mamba_block else config.feed_forward,
                rms_norm=config.mamba_block,
            )
            for layer in range(config.layers)
        ]
        self.output_norm = layer_norm()
        self.embedding, self.final_norm = Site(), Site()

    def __call__(
        self,
        tokens: Int[Array, "batch length"],
        positions: Int[Array, "batch queries"] | None = None,
        *,
        skip_unread: bool = False,
    ) -> Float[Array, "batch positions vocabulary"]:
        """Logits of the next token.

        Args:
            tokens: token ids.
            positions: where to predict; everywhere if None.
            skip_unread: compute the last layer's outputs at `positions` only. The logits
                are the same; the sites there then hold those positions alone.

        Raises:
            UserError: more tokens than `max_length`.
        """
        if tokens.shape[1] > self.config.max_length:
            raise UserError(
                f"{tokens.shape[1]} tokens, but the model's max_length is {self.config.max_length}"
            )
        residual = self.token_embedding(tokens)
        if self.config.positions == "learned":
            residual = residual + self.position_embedding(jnp.arange(tokens.shape[1]))[None]
        residual = self.embedding(residual)
        for layer, block in enumerate(self.block):
            last = layer == self.config.layers - 1
            residual = block(residual, positions if last and skip_unread else None)
        if not skip_unread:
            residual = at_positions(residual, positions)
        return self.token_embedding.attend(self.final_norm(self.output_norm(residual)))


def initialize(config: ModelConfig, key: Array) -> PyTree:
    """Parameters of a new model, drawn with `key`."""
    tokens = jnp.zeros((1, min(2, config.max_length)), jnp.int32)
    return LanguageModel(config).init(key, tokens)["params"]


def parameter_count(config: ModelConfig) -> int:
    """Number of parameters, without allocating them."""
    shapes = jax.eval_shape(lambda key: initialize(config, key), jax.random.key(0))
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))
