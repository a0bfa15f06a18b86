"""Language model: embedding, layers, final norm, output head.

    r = E[tokens] (+ P[0 .. length-1]);   r = block_i(r);   logits = norm(r) E^T

In the study the output head is the embedding E. In its recurrent form a model reads one token at a
time and keeps only its state.
"""

import dataclasses
import functools
import math
from collections.abc import Iterator, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mecheval_jax.array_types import Array, Float, Int, Key, PyTree
from mecheval_jax.errors import UserError, choose, expect
from mecheval_jax.fields import POSITIVE, Section
from mecheval_jax.mesh_axes import DOCUMENTS, MODEL, spread
from mecheval_jax.mixers import MixerContext, architectures_of, build_mixer, initializers
from mecheval_jax.mixers.architectures import positions_of
from mecheval_jax.models.blocks import CANON, NORMS, BlockConfig, norm, rematerialized
from mecheval_jax.models.feed_forward import ACTIVATIONS, FEED_FORWARD, KINDS, FeedForwardConfig
from mecheval_jax.models.half_precision import in_compute_dtype, wide_sums
from mecheval_jax.models.output_head import output_head, tied_logits
from mecheval_jax.ops.positions import at_positions
from mecheval_jax.ops.precision import beside, widened
from mecheval_jax.site_path import block_name
from mecheval_jax.sites import Site

POSITIONS = ("learned", "none", "rotary", "alibi")
MOST_LAYERS = 1024
"""Beyond it a program takes hours to compile."""

DTYPES = ("float32", "bfloat16")


@dataclasses.dataclass(frozen=True)
class ModelConfig(Section, section="model"):
    """Shape of a model.

    Attributes:
        mixer: Name of the architecture (`mixers.ARCHITECTURES`), ``module:Class`` of the user's
            own, or one of these for each layer, joined by commas.
        layers: Number of blocks.
        width: Number of channels of the residual stream.
        vocabulary_size: Number of tokens, rows of the embedding.
        max_length: Length limit in tokens: rows of the position table and taps of
            implicit filters (1024 in the study).
        positions: ``learned`` absolute positions, ``none``, or ``rotary`` or ``alibi`` inside
            the mixers that have them.
        feed_forward: ``mlp``, ``glu``, ``channel_mix``, ``identity`` or ``none``; Mamba blocks
            have their own.
        mamba_feed_forward: The same for Mamba blocks.
        canon: Number of taps of residual convolutions; 0 for none.
        canon_at: Places of these convolutions in every block, some of the letters A (before the
            mixer), B (behind queries, keys and values), C (before the feed-forward part) and D
            (behind its first layers).
        canon_bias: Whether these convolutions have biases.
        mixer_options: Fields of the mixers that differ from the architecture's defaults.
        dtype: Type of the activations, ``float32`` or ``bfloat16``; parameters and logits stay
            float32, and recurrences are computed in it, of which sites hold what is handed on.
        hidden: Inner width of the feed-forward part; 0 for four times the width.
        activation: Activation function of the feed-forward part.
        feed_forward_bias: Whether the dense layers of the feed-forward part have biases.
        norm: Norm of the blocks, ``layer``, ``rms`` or ``none``; ``auto`` for that of the
            architecture.
        output_norm: Norm before the output head, ``layer``, ``rms`` or ``none``.
        norm_epsilon: Epsilon of both kinds; norms inside mixers have their own.
        parallel: Whether mixer and feed-forward part read the same residual stream.
        tied: Whether the output head is the embedding.
    """

    mixer: str
    layers: int
    width: int
    vocabulary_size: int
    max_length: int
    positions: str = "none"
    feed_forward: str = "mlp"
    mamba_feed_forward: str = "none"
    canon: int = 0
    canon_at: str = "A"
    canon_bias: bool = True
    mixer_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    dtype: str = "float32"
    hidden: int = 0
    activation: str = "gelu"
    feed_forward_bias: bool = True
    norm: str = "auto"
    output_norm: str = "layer"
    norm_epsilon: float = 1e-5
    parallel: bool = False
    tied: bool = True

    def check(self) -> None:
        """Check names and bounds, and that every mixer can be built."""
        choose("positions", self.positions, POSITIONS)
        choose("feed_forward", self.feed_forward, KINDS)
        choose("mamba_feed_forward", self.mamba_feed_forward, KINDS)
        choose("dtype", self.dtype, DTYPES)
        choose("activation", self.activation, ACTIVATIONS)
        choose("norm", self.norm, ("auto", *NORMS))
        choose("output_norm", self.output_norm, NORMS)
        self.at_least(1, "layers", "width", "vocabulary_size", "max_length")
        depth = f"at most {MOST_LAYERS}, since each is compiled on its own"
        self.require((depth, lambda value: value <= MOST_LAYERS), "layers")
        self.at_least(0, "canon", "hidden")
        self.require(POSITIVE, "norm_epsilon")
        if list(self.canon_at) != sorted(set(self.canon_at) & set(CANON)):
            raise UserError(
                f"model.canon_at is {self.canon_at!r}: letters of {CANON}, each once, in order"
            )
        # Each is built, which refuses unknown mixers and options.
        mixers = [self.build_mixer(layer) for layer in range(self.layers)]
        shared = [built.shared_module() for built in mixers if hasattr(built, "shared_module")]
        if len({module.width for module in shared}) > 1:
            raise UserError(
                "model.mixer_options: layers share the lower bounds of their forget gates, and so "
                "have keys of the same width"
            )
        if self.canon and not self.canon_at:
            raise UserError(f"model.canon is {self.canon}: model.canon_at says where, such as A")
        blocks = [self.block(layer) for layer in range(self.layers)]
        for place in self.canon_at if self.canon else "":  # A is everywhere; mixers check B
            if not any(block.has_canon(place) for block in blocks):
                raise UserError(
                    f"model.canon_at is {self.canon_at!r}: no layer has the feed-forward part that "
                    f"{place} stands in"
                )

    def __hash__(self):
        fields = {**vars(self), "mixer_options": sorted(self.mixer_options.items())}
        return hash(tuple(str(value) for value in fields.values()))

    @property
    def in_float32(self) -> "ModelConfig":
        """The same model with activations of 32 bits."""
        return dataclasses.replace(self, dtype="float32")

    @property
    def shape(self) -> dict[str, Any]:
        """Columns by which tables tell models apart: mixer, width and number of layers."""
        return {"mixer": self.mixer, "width": self.width, "layers": self.layers}

    def changes_to(self, mixer: str) -> dict[str, Any]:
        """Fields that differ in a model of the same shape with another architecture.

        It has the positions that are usual for it, and no options; the config's own architecture
        keeps those of the config.
        """
        if mixer == self.mixer:
            return {"mixer": mixer}
        return {"mixer": mixer, "positions": positions_of(mixer), "mixer_options": {}}

    def block(self, layer: int) -> BlockConfig:
        """Shape of a layer around its mixer."""
        mamba = architectures_of(self.mixer, self.layers)[layer].mamba_block
        feed_forward = FeedForwardConfig(
            self.mamba_feed_forward if mamba else self.feed_forward,
            self.width,
            self.layers,
            self.hidden,
            self.activation,
            self.feed_forward_bias,
            layer,
        )
        norm = ("rms" if mamba else "layer") if self.norm == "auto" else self.norm
        return BlockConfig(
            feed_forward,
            norm,
            self.norm_epsilon,
            self.canon,
            self.canon_at,
            self.canon_bias,
            self.parallel,
        )

    def components(self, layer: int) -> tuple[str, ...]:
        """Sites of a layer outside its mixer, in the order of the computation."""
        return self.block(layer).components

    def build_mixer(self, layer: int) -> nn.Module:
        """Build the mixer of one layer."""
        encoding = self.positions if self.positions in ("rotary", "alibi") else "none"
        canon = self.canon if "B" in self.canon_at else 0
        shape = (layer, self.layers, self.width, self.max_length)
        context = MixerContext(*shape, encoding, canon, self.canon_bias)
        return build_mixer(self.mixer, context, self.mixer_options)


class LanguageModel(nn.Module):
    """Causal language model with the equations of this module.

    Its sites are ``embedding``, the components of every ``block_i`` and of its mixer, and
    ``final_norm``; docs/sites.md lists them.

    Attributes:
        config: Shape of the model.
        rows: Number of rows of the vocabulary tables if they are padded, so that devices hold
            equal parts of them; padding rows have no logits. 0 for the vocabulary size.
        remat: What the gradient stores of the forward pass, a name in `blocks.REMAT`.
    """

    config: ModelConfig
    rows: int = 0
    remat: str = "none"

    def __post_init__(self):
        expect("the config", self.config, ModelConfig, "a ModelConfig, as Experiment.model is")
        super().__post_init__()

    @nn.nowrap
    def apply(self, variables: Mapping[str, PyTree], *args: Any, **kwargs: Any) -> Any:
        """`nn.Module.apply`, with the parameters in the type that the model computes in."""
        with wide_sums(self.config.dtype):
            return super().apply(self._to_compute_dtype(variables), *args, **kwargs)

    @nn.nowrap
    def bind(self, variables: Mapping[str, PyTree], *args: Any, **kwargs: Any) -> "LanguageModel":
        """`nn.Module.bind`, with the parameters in the type that the model computes in."""
        return super().bind(self._to_compute_dtype(variables), *args, **kwargs)

    @nn.nowrap
    def _to_compute_dtype(self, variables: Mapping[str, PyTree]) -> dict[str, PyTree]:
        # Outside the modules, so that parameters and their gradients stay float32.
        return {**variables, "params": in_compute_dtype(variables["params"], self.config.dtype)}

    def setup(self):
        config, rows = self.config, self.rows or self.config.vocabulary_size
        self.token_embedding = nn.Embed(rows, config.width, embedding_init=initializers.dense)
        if config.positions == "learned":
            self.position_embedding = nn.Embed(
                config.max_length, config.width, embedding_init=initializers.dense
            )
        block, mixers = rematerialized(self.remat), self._mixers()
        self.block = [block(mixer, config.block(i)) for i, mixer in enumerate(mixers)]
        self.output_norm = norm(config.output_norm, config.norm_epsilon)
        if not config.tied:
            self.output_head = output_head(rows)
        self.embedding, self.final_norm = Site(), Site()

    def _mixers(self) -> list[nn.Module]:
        """The mixers of all layers, with the modules that those of a kind share."""
        mixers = [self.config.build_mixer(layer) for layer in range(self.config.layers)]
        for kind in {type(mixer): None for mixer in mixers if hasattr(mixer, "shared_module")}:
            alike = [i for i, mixer in enumerate(mixers) if type(mixer) is kind]
            module = mixers[alike[0]].shared_module()
            setattr(self, kind.SHARED, module)
            for i in alike:
                mixers[i] = mixers[i].clone(shared=module)
        return mixers

    def _embed(
        self, tokens: Int[Array, "*axes"], index: Int[Array, "..."]
    ) -> Float[Array, "*axes width"]:
        # The width is gathered first, so that each device looks up its own documents' tokens.
        table = spread(self.token_embedding.embedding, MODEL)
        # In float32, so that what all tokens add to a row's gradient is summed in it.
        residual = jnp.take(widened(table), tokens, axis=0).astype(table.dtype)
        if self.config.positions == "learned":
            residual = residual + beside(self.position_embedding(index), residual)
        return self.embedding(spread(residual, DOCUMENTS))

    def _read(self, residual: Float[Array, "*axes width"]) -> Float[Array, "*axes width"]:
        return self.final_norm(self.output_norm(residual))

    def _head(self, read: Float[Array, "*axes width"]) -> Float[Array, "*axes vocabulary"]:
        table = self.token_embedding.embedding
        logits = tied_logits(read, table) if self.config.tied else self.output_head(read)
        return logits[..., : self.config.vocabulary_size]

    def __call__(
        self,
        tokens: Int[Array, "batch length"],
        positions: Int[Array, "batch queries"] | None = None,
        *,
        skip_unread: bool = False,
    ) -> Float[Array, "batch positions vocabulary"]:
        """Logits of the next token.

        Args:
            tokens: Token ids.
            positions: Positions of the logits; all if None.
            skip_unread: Whether the last layer computes its outputs at `positions` only. The
                logits are the same; its sites that follow the mixer's look-up hold these positions.

        Raises:
            UserError: If there are more tokens than `max_length`.
        """
        if tokens.shape[1] > self.config.max_length:
            raise UserError(
                f"{tokens.shape[1]} tokens, but the model's max_length is {self.config.max_length}"
            )
        residual, first = self._embed(tokens, jnp.arange(tokens.shape[1])[None]), None
        for layer, block in enumerate(self.block):
            last = layer == self.config.layers - 1
            at = positions if last and skip_unread else None
            residual, first = block(residual, at, first)
        read = self._read(residual)
        return self._head(read if skip_unread else at_positions(read, positions))

    def initial_state(self, batch: int, max_length: int) -> dict[str, PyTree]:
        """State of the recurrent form before the first token.

        Its size is the memory that the model needs to continue a document.

        Args:
            batch: Number of documents.
            max_length: Greatest number of tokens that will be read; growing states have this
                length.

        Raises:
            UserError: If `max_length` exceeds the model's, or a mixer has no recurrent form.
        """
        if max_length > self.config.max_length:
            raise UserError(
                f"{max_length} tokens, but the model's max_length is {self.config.max_length}"
            )
        for block in self.block:
            if not (hasattr(block.mixer, "initial_state") and hasattr(block.mixer, "step")):
                raise UserError(
                    f"{type(block.mixer).__name__} has no recurrent form: it needs "
                    "initial_state(batch, max_length) and step(state, x_t)"
                )
        blocks = [block.initial_state(batch, max_length) for block in self.block]
        return {"blocks": blocks, "position": jnp.zeros((), jnp.int32)}

    def step(
        self, state: dict[str, PyTree], tokens_t: Int[Array, " batch"]
    ) -> tuple[dict[str, PyTree], Float[Array, "batch vocabulary"]]:
        """Read one token of each document: the next state, and the logits of the next token."""
        residual, first, blocks = self._embed(tokens_t, state["position"][None]), None, []
        for block, block_state in zip(self.block, state["blocks"], strict=True):
            block_state, residual, first = block.step(block_state, residual, first)
            blocks.append(block_state)
        logits = self._head(self._read(residual))
        return {"blocks": blocks, "position": state["position"] + 1}, logits


def exempt_from_decay(config: ModelConfig) -> tuple[str, ...]:
    """Paths of the parameters that the authors of the mixers exempt from weight decay.

    A mixer or feed-forward part names them in its ``WITHOUT_DECAY``. Norms of the blocks and of the
    output are no part of a mixer and decay, as they do not in RWKV-7's own training.
    """
    declared = _declared(config, "WITHOUT_DECAY")
    return tuple(f"{path}/{name}" for path, names in declared for name in names)


def scaled_rates(config: ModelConfig) -> dict[str, float]:
    """Paths of the parameters whose learning rate the authors of the mixers multiply, and by what.

    A mixer names them in its ``RATES``.
    """
    declared = _declared(config, "RATES")
    return {f"{path}/{name}": rates[name] for path, rates in declared for name in rates}


def _declared(config: ModelConfig, attribute: str) -> Iterator[tuple[str, Any]]:
    """Paths of mixers and feed-forward parts, and their values of an attribute, if they have it."""
    for layer in range(config.layers):
        part = FEED_FORWARD.get(config.block(layer).feed_forward.kind)
        for module, owner in (("mixer", config.build_mixer(layer)), ("mlp", part)):
            if hasattr(owner, attribute):
                yield f"{block_name(layer)}/{module}", getattr(owner, attribute)


def initialize(config: ModelConfig, key: Key) -> PyTree:
    """Draw the parameters of a new model with `key`."""
    tokens = jnp.zeros((1, min(2, config.max_length)), jnp.int32)
    return LanguageModel(config).init(key, tokens)["params"]


@functools.lru_cache(maxsize=16)
def parameter_shapes(config: ModelConfig) -> PyTree:
    """Shapes and types of the parameters, without allocating them."""
    return jax.eval_shape(lambda key: initialize(config, key), jax.random.key(0))


def parameter_count(config: ModelConfig, shapes: PyTree | None = None) -> int:
    """Number of parameters, without allocating them.

    Args:
        config: Config of the model.
        shapes: Its `parameter_shapes`, where they are known already.
    """
    shapes = parameter_shapes(config) if shapes is None else shapes
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))
