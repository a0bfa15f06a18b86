"""What a family of models of Hugging Face's transformers is, as tables, and what families share.

Fields in no table do not change the function (dropout, initialisation, token ids, caches,
kernels). Source of the tables, and of the defaults of absent fields: the config and model classes
of transformers 5.24.
"""

import dataclasses
import math
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import flax.linen as nn

from mecheval_jax.interop.huggingface_fields import COUNT, FLAG, Field, field, only
from mecheval_jax.interop.state_dict import QKV, Table, Target, dense
from mecheval_jax.models.language_model import ModelConfig

Fields = dict[str, Any]
"""Fields of a config.json."""


class Fused(NamedTuple):
    """A dense layer or convolution that stands for several of ours.

    Attributes:
        name: Name of the layer.
        parts: Our modules of the mixer by the names that messages show, in the order of the rows.
        by_head: Whether rows are ordered by head first, and by part within each.
        transposed: Whether the weight is [in, out], not [out, in].
        taps: Whether it is a depthwise convolution.
    """

    name: str
    parts: Mapping[str, str]
    by_head: bool = False
    transposed: bool = False
    taps: bool = False

    def entries(self, kind: str) -> list[str]:
        """Names of the parts of its weight or its bias, which messages show."""
        return [f"{self.name}.{kind} ({part})" for part in self.parts]

    def table(self) -> Table:
        """Targets of its parts."""
        leaf, layout = ("weight", "taps") if self.taps else ("kernel", "transpose")
        table = {}
        for entry, ours in zip(self.entries("weight"), self.parts.values(), strict=True):
            table[entry] = Target(f"mixer/{ours}/{leaf}", layout)
        for entry, ours in zip(self.entries("bias"), self.parts.values(), strict=True):
            table[entry] = Target(f"mixer/{ours}/bias")
        return table


class Mixer(NamedTuple):
    """The form in which the layers of a mixer are stored.

    Attributes:
        table: Table of the weights.
        fused: Layers that stand for several of ours.
    """

    table: Table
    fused: tuple[Fused, ...] = ()

    def whole(self) -> Table:
        """The table with the parts of the fused layers."""
        return {n: target for table in self._tables() for n, target in table.items()}

    def _tables(self) -> list[Table]:
        return [self.table, *(fused.table() for fused in self.fused)]


def _as_they_are(fields: Fields) -> Fields:
    return fields


@dataclasses.dataclass(frozen=True)
class Family:
    """The form in which models of one ``model_type`` are stored.

    Attributes:
        architecture: Class of transformers for the model with an output head.
        fixed: Fields of `ModelConfig` that all models of the family share.
        fields: Fields of config.json that change the function; nested names have a dot.
        prefix: Prefix of the names of all weights but the output head's.
        layers: Name after the prefix of the list of layers.
        outer: Table of the weights outside the layers.
        inner: Table of the weights of a layer outside its mixer.
        mixers: Our names of the mixers, and the form of each; with several, a field says which
            layer has which.
        head: Name of the output head's weight.
        older: Names of fields in older versions, older -> current.
        derived: Functions from the config to fields that must agree with the others; None where
            the model has no layer that they are about.
        renamed: Parts of other names of weights, part -> the one in the tables.
        expand: Function from the fields of a config.json to these and others in `fields`, which
            follow from several of them together.
        contract: Inverse of `expand`.
    """

    architecture: str
    fixed: Mapping[str, Any]
    fields: Mapping[str, Field]
    prefix: str
    layers: str
    outer: Table
    inner: Table
    mixers: Mapping[str, Mixer]
    head: str = "lm_head.weight"
    older: Mapping[str, str] = dataclasses.field(default_factory=dict)
    derived: Mapping[str, Callable[[ModelConfig], Any]] = dataclasses.field(default_factory=dict)
    renamed: Mapping[str, str] = dataclasses.field(default_factory=dict)
    expand: Callable[[Fields], Fields] = _as_they_are
    contract: Callable[[Fields], Fields] = _as_they_are


ANY = {"quantization_config": only(None), "is_encoder_decoder": only(False)}
SHAPE = ANY | {
    "vocab_size": field("vocabulary_size", COUNT),
    "hidden_size": field("width", COUNT),
    "num_hidden_layers": field("layers", COUNT),
}
ATTENTION = {
    "is_causal": only(True),
    "sliding_window": only(None),
    "add_cross_attention": only(False),
}
THETA, TURNED = "rope_parameters.rope_theta", "rope_parameters.partial_rotary_factor"
RMS_NORM = {"norm": "rms", "output_norm": "rms"}
SELF_ATTENTION = dense(
    *(f"self_attn.{name}=mixer/{name}" for name in QKV), "self_attn.o_proj=mixer/out_proj"
)
EXPERTS = "number of layers with experts"
HYBRID = SHAPE | {
    "intermediate_size": field("hidden", COUNT),
    "hidden_act": only("silu", "swish"),
    "tie_word_embeddings": field("tied", FLAG, False),
    EXPERTS: only(0),
}
HYBRID_FIXED = RMS_NORM | {"feed_forward": "glu", "feed_forward_bias": False, "activation": "silu"}


def gated_mlp(theirs: str) -> Table:
    """Table of a feed-forward part whose hidden layer is gated."""
    names = ("up_proj=mlp/fc1", "gate_proj=mlp/fc2", "down_proj=mlp/fc3")
    return dense(*(f"{theirs}.{name}" for name in names))


def of_mixer(mixer: type[nn.Module], attribute: str) -> Callable[[ModelConfig], Any]:
    """Function from a config to an attribute of its first mixer of a class; None without one."""

    def derive(config: ModelConfig) -> Any:
        built = (config.build_mixer(layer) for layer in range(config.layers))
        return next((getattr(found, attribute) for found in built if type(found) is mixer), None)

    return derive


def where_given(fields: Fields, nullable: Collection[str]) -> Fields:
    """The fields without those that are null, where that means that others say what they are.

    Of any other field null has no meaning in transformers, and none here.
    """
    return {n: value for n, value in fields.items() if value is not None or n not in nullable}


def share_of_width(fields: Fields, heads: str, channels: str) -> float | None:
    """Channels of all heads, as a share of the width; None if the fields are no numbers."""
    numbers = (fields.get(heads), fields.get(channels), fields.get("hidden_size"))
    if not all(isinstance(number, int) and number > 0 for number in numbers):
        return None
    return math.prod(numbers[:2]) / numbers[2]
