"""Five families of language models as Hugging Face's transformers stores them.

Every `Family` maps the fields of its config.json and the names of its weights to ours. Fields in
no table do not change the function (dropout, initialisation, token ids, caches, kernels). Source
of the tables, and of the defaults of absent fields: the config and model classes of transformers
5.24.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from mecheval_jax import mixers
from mecheval_jax.interop.huggingface_fields import (
    ACTIVATION,
    COUNT,
    COUNT_OR_AUTO,
    COUNT_OR_NULL,
    FLAG,
    POSITIVE,
    SHARE,
    Field,
    field,
    only,
)
from mecheval_jax.interop.reference_tables import REFERENCES
from mecheval_jax.interop.state_dict import Table, Target, below, dense, norm
from mecheval_jax.models.language_model import ModelConfig


class Fused(NamedTuple):
    """A dense layer that computes queries, keys and values together.

    Attributes:
        name: Name of the layer.
        by_head: Whether rows are ordered [heads, 3, ...], not [3, ...].
        transposed: Whether the weight is [in, out], not [out, in].
    """

    name: str
    by_head: bool
    transposed: bool

    def parts(self, kind: str) -> list[str]:
        """Names of the three parts of its weight or its bias, which messages show."""
        return [f"{self.name}.{kind} ({part})" for part in "qkv"]

    def table(self) -> Table:
        """Targets of its parts."""
        table = {}
        for part, weight, bias in zip("qkv", self.parts("weight"), self.parts("bias"), strict=True):
            table[weight] = Target(f"mixer/{part}_proj/kernel", "transpose")
            table[bias] = Target(f"mixer/{part}_proj/bias")
        return table


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
        inner: Table of the weights of a layer.
        head: Name of the output head's weight.
        fused: Layer that computes queries, keys and values together, if there is one.
        older: Names of fields in older versions, older -> current.
        derived: Functions from the config to fields that must agree with the others.
        renamed: Other names of weights, name -> the one in the tables.
    """

    architecture: str
    fixed: Mapping[str, Any]
    fields: Mapping[str, Field]
    prefix: str
    layers: str
    outer: Table
    inner: Table
    head: str = "lm_head.weight"
    fused: Fused | None = None
    older: Mapping[str, str] = dataclasses.field(default_factory=dict)
    derived: Mapping[str, Callable[[ModelConfig], Any]] = dataclasses.field(default_factory=dict)
    renamed: Mapping[str, str] = dataclasses.field(default_factory=dict)


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
ROTARY = {
    **SHAPE,
    **ATTENTION,
    "num_attention_heads": field(".heads", COUNT),
    "intermediate_size": field("hidden", COUNT),
    "max_position_embeddings": field("max_length", COUNT, 2048),
    "rope_parameters.rope_type": only("default"),
    THETA: field(".rotary_base", POSITIVE, 10_000.0),
    "tie_word_embeddings": field("tied", FLAG, False),
}
MAMBA = {
    **SHAPE,
    "state_size": field(".d_state", COUNT),
    "conv_kernel": field(".d_conv", COUNT, 4),
    "expand": field(".expand", COUNT, 2),
    "use_bias": field(".bias", FLAG, False),
    "use_conv_bias": field(".conv_bias", FLAG, True),
    "hidden_act": only("silu", "swish"),
    # Mamba has no length limit, and neither has its config: this field is ours, and others ignore
    # it. The default is the length with which the authors' models were trained.
    "max_position_embeddings": field("max_length", COUNT, 2048),
}
LAYER_NORM = {"norm": "layer", "output_norm": "layer"}
RMS_NORM = {"norm": "rms", "output_norm": "rms"}
QKV = ("q_proj", "k_proj", "v_proj")
C_ATTN = Fused("attn.c_attn", by_head=False, transposed=True)
QUERY_KEY_VALUE = Fused("attention.query_key_value", by_head=True, transposed=False)


def _inner_width(config: ModelConfig) -> int:
    return config.build_mixer(0).expand * config.width


def _head_width(config: ModelConfig) -> int:
    return config.width // config.build_mixer(0).heads


def _mamba(mixer: type[mixers.Mamba] | type[mixers.Mamba2], **of_family: Any) -> Family:
    return Family(
        architecture=f"{mixer.__name__}ForCausalLM",
        fixed={"mixer": mixer.__name__.lower(), **RMS_NORM},
        prefix="backbone.",
        layers="layers",
        outer={"embeddings.weight": Target("token_embedding/embedding")}
        | norm("norm_f", "output_norm"),
        inner=below(REFERENCES[mixer].table, "mixer.", "mixer/") | norm("norm", "mixer_norm"),
        renamed={"backbone.embedding.weight": "backbone.embeddings.weight"},  # the authors' name
        **of_family,
    )


FAMILIES = {
    "gpt2": Family(
        architecture="GPT2LMHeadModel",
        fixed={
            "mixer": "attention",
            "mixer_options.bias": True,
            "positions": "learned",
            **LAYER_NORM,
        },
        fields={
            **ANY,
            **ATTENTION,
            "vocab_size": field("vocabulary_size", COUNT),
            "n_embd": field("width", COUNT),
            "n_layer": field("layers", COUNT),
            "n_head": field(".heads", COUNT),
            "n_positions": field("max_length", COUNT, 1024),
            "n_inner": field("hidden", COUNT_OR_NULL, None),
            "activation_function": field("activation", ACTIVATION, "gelu_new"),
            "layer_norm_epsilon": field("norm_epsilon", POSITIVE, 1e-5),
            "scale_attn_weights": only(True),
            "scale_attn_by_inverse_layer_idx": only(False),
            "tie_word_embeddings": field("tied", FLAG, True),
        },
        prefix="transformer.",
        layers="h",
        outer={
            "wte.weight": Target("token_embedding/embedding"),
            "wpe.weight": Target("position_embedding/embedding"),
        }
        | norm("ln_f", "output_norm"),
        # Its dense layers are the authors' Conv1D, [in, out] as ours are.
        inner=dense(
            "attn.c_proj=mixer/out_proj",
            "mlp.c_fc=mlp/fc1",
            "mlp.c_proj=mlp/fc2",
            layout="as_is",
        )
        | C_ATTN.table()
        | norm("ln_1", "mixer_norm")
        | norm("ln_2", "mlp_norm"),
        fused=C_ATTN,
    ),
    "gpt_neox": Family(
        architecture="GPTNeoXForCausalLM",
        fixed={"mixer": "attention", "positions": "rotary", **LAYER_NORM},
        fields={
            **ROTARY,
            TURNED: field(".rotary_share", SHARE, 0.25),
            "hidden_act": field("activation", ACTIVATION, "gelu"),
            "layer_norm_eps": field("norm_epsilon", POSITIVE, 1e-5),
            "use_parallel_residual": field("parallel", FLAG, True),
            "attention_bias": field(".bias .out_bias", FLAG, True),
        },
        older={"rotary_emb_base": THETA, "rotary_pct": TURNED},
        prefix="gpt_neox.",
        layers="layers",
        outer={"embed_in.weight": Target("token_embedding/embedding")}
        | norm("final_layer_norm", "output_norm"),
        inner=dense(
            "attention.dense=mixer/out_proj",
            "mlp.dense_h_to_4h=mlp/fc1",
            "mlp.dense_4h_to_h=mlp/fc2",
        )
        | QUERY_KEY_VALUE.table()
        | norm("input_layernorm", "mixer_norm")
        | norm("post_attention_layernorm", "mlp_norm"),
        head="embed_out.weight",
        renamed={"lm_head.weight": "embed_out.weight"},
        fused=QUERY_KEY_VALUE,
    ),
    "llama": Family(
        architecture="LlamaForCausalLM",
        fixed={"mixer": "attention", "positions": "rotary", "feed_forward": "glu", **RMS_NORM},
        fields={
            **ROTARY,
            TURNED: only(1.0, None),
            "num_key_value_heads": field(".key_heads", COUNT_OR_NULL, None),
            "hidden_act": field("activation", ACTIVATION, "silu"),
            "rms_norm_eps": field("norm_epsilon", POSITIVE, 1e-6),
            "attention_bias": field(".bias .out_bias", FLAG, False),
            "mlp_bias": field("feed_forward_bias", FLAG, False),
        },
        older={"rope_theta": THETA, "partial_rotary_factor": TURNED},
        derived={"head_dim": _head_width},
        prefix="model.",
        layers="layers",
        outer={"embed_tokens.weight": Target("token_embedding/embedding")}
        | norm("norm", "output_norm"),
        inner=dense(
            *(f"self_attn.{name}=mixer/{name}" for name in QKV),
            "self_attn.o_proj=mixer/out_proj",
            "mlp.up_proj=mlp/fc1",
            "mlp.gate_proj=mlp/fc2",
            "mlp.down_proj=mlp/fc3",
        )
        | norm("input_layernorm", "mixer_norm")
        | norm("post_attention_layernorm", "mlp_norm"),
    ),
    "mamba": _mamba(
        mixers.Mamba,
        fields={
            **MAMBA,
            "state_size": field(".d_state", COUNT, 16),
            "time_step_rank": field(".dt_rank", COUNT_OR_AUTO, "auto"),
            "layer_norm_epsilon": field("norm_epsilon", POSITIVE, 1e-5),
            "tie_word_embeddings": field("tied", FLAG, True),
        },
        derived={"intermediate_size": _inner_width},
    ),
    "mamba2": _mamba(
        mixers.Mamba2,
        fields={
            **MAMBA,
            "state_size": field(".d_state", COUNT, 128),
            "head_dim": field(".head_dim", COUNT, 64),
            # With several groups, transformers 4 takes the norm over all of them together;
            # transformers 5 and the authors take it over each, as we do.
            "n_groups": field(".groups", COUNT, 8),
            "layer_norm_epsilon": field("norm_epsilon .epsilon", POSITIVE, 1e-5),
            "time_step_limit": only([0.0, math.inf]),
            "tie_word_embeddings": field("tied", FLAG, False),
        },
        derived={"num_heads": lambda config: config.build_mixer(0).heads},
    ),
}
"""Families by the ``model_type`` of config.json."""
