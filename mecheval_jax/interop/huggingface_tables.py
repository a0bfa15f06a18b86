"""Families of language models as Hugging Face's transformers stores them.

Every `Family` maps the fields of its config.json and the names of its weights to ours. Those whose
layers have one mixer are here; hybrids have a module each.
"""

import math
from typing import Any

from mecheval_jax import mixers
from mecheval_jax.interop.huggingface_family import (
    ANY,
    ATTENTION,
    RMS_NORM,
    SELF_ATTENTION,
    SHAPE,
    THETA,
    TURNED,
    Family,
    Fused,
    Mixer,
    gated_mlp,
)
from mecheval_jax.interop.huggingface_fields import (
    ACTIVATION,
    COUNT,
    COUNT_OR_AUTO,
    COUNT_OR_NULL,
    FLAG,
    POSITIVE,
    SHARE,
    field,
    only,
)
from mecheval_jax.interop.huggingface_jamba import JAMBA
from mecheval_jax.interop.huggingface_kimi_linear import KIMI_LINEAR
from mecheval_jax.interop.huggingface_qwen3_next import QWEN3_NEXT
from mecheval_jax.interop.reference_tables import STUDY_MIXERS
from mecheval_jax.interop.state_dict import Target, below, dense, norm
from mecheval_jax.models.language_model import ModelConfig

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
PARTS = {"q": "q_proj", "k": "k_proj", "v": "v_proj"}
C_ATTN = Fused("attn.c_attn", PARTS, transposed=True)
QUERY_KEY_VALUE = Fused("attention.query_key_value", PARTS, by_head=True)


def _inner_width(config: ModelConfig) -> int:
    return config.build_mixer(0).expand * config.width


def _head_width(config: ModelConfig) -> int:
    return config.width // config.build_mixer(0).heads


def _mamba(mixer: type[mixers.Mamba] | type[mixers.Mamba2], **of_family: Any) -> Family:
    return Family(
        architecture=f"{mixer.__name__}ForCausalLM",
        fixed=RMS_NORM,
        prefix="backbone.",
        layers="layers",
        outer={"embeddings.weight": Target("token_embedding/embedding")}
        | norm("norm_f", "output_norm"),
        inner=norm("norm", "mixer_norm"),
        mixers={
            mixer.__name__.lower(): Mixer(below(STUDY_MIXERS[mixer].table, "mixer.", "mixer/"))
        },
        renamed={"backbone.embedding.weight": "backbone.embeddings.weight"},  # the authors' name
        **of_family,
    )


FAMILIES: dict[str, Family] = {
    "gpt2": Family(
        architecture="GPT2LMHeadModel",
        fixed={"mixer_options.bias": True, "positions": "learned", **LAYER_NORM},
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
        inner=dense("mlp.c_fc=mlp/fc1", "mlp.c_proj=mlp/fc2", layout="as_is")
        | norm("ln_1", "mixer_norm")
        | norm("ln_2", "mlp_norm"),
        mixers={"attention": Mixer(dense("attn.c_proj=mixer/out_proj", layout="as_is"), (C_ATTN,))},
    ),
    "gpt_neox": Family(
        architecture="GPTNeoXForCausalLM",
        fixed={"positions": "rotary", **LAYER_NORM},
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
        inner=dense("mlp.dense_h_to_4h=mlp/fc1", "mlp.dense_4h_to_h=mlp/fc2")
        | norm("input_layernorm", "mixer_norm")
        | norm("post_attention_layernorm", "mlp_norm"),
        mixers={
            "attention": Mixer(dense("attention.dense=mixer/out_proj"), (QUERY_KEY_VALUE,)),
        },
        head="embed_out.weight",
        renamed={"lm_head.weight": "embed_out.weight"},
    ),
    "llama": Family(
        architecture="LlamaForCausalLM",
        fixed={"positions": "rotary", "feed_forward": "glu", **RMS_NORM},
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
        inner=gated_mlp("mlp")
        | norm("input_layernorm", "mixer_norm")
        | norm("post_attention_layernorm", "mlp_norm"),
        mixers={"attention": Mixer(SELF_ATTENTION)},
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
    "qwen3_next": QWEN3_NEXT,
    "kimi_linear": KIMI_LINEAR,
    "jamba": JAMBA,
}
"""Families by the ``model_type`` of config.json."""
