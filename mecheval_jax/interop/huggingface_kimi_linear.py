"""Kimi Linear: Kimi Delta Attention, layer by layer.

Only models whose feed-forward parts are dense, and without layers of full attention, have a form
here: those layers read keys and values of a low rank (multi-head latent attention), which no mixer
of ours does.
"""

from mecheval_jax.interop.huggingface_family import (
    EXPERTS,
    HYBRID,
    HYBRID_FIXED,
    Family,
    Fields,
    Mixer,
    gated_mlp,
    share_of_width,
    where_given,
)
from mecheval_jax.interop.huggingface_fields import COUNT, POSITIVE, Kinds, field
from mecheval_jax.interop.reference_tables import DELTA_NET
from mecheval_jax.interop.state_dict import Target, below, dense, norm

SHARE = "linear_num_heads * linear_head_dim / hidden_size"
NESTED = {
    "head_dim": "linear_head_dim",
    "num_heads": "linear_num_heads",
    "short_conv_kernel_size": "linear_conv_kernel_dim",
}
"""Fields of the authors' ``linear_attn_config``, and their names in transformers."""
DEFAULTS = {"linear_num_heads": 32, "linear_head_dim": 128, "first_k_dense_replace": 1}


def _expand(fields: Fields) -> Fields:
    fields = DEFAULTS | where_given(fields, ("layer_types", "mlp_layer_types"))
    nested: Fields = fields.get("linear_attn_config") or {}
    layers = range(fields.get("num_hidden_layers", 0))
    fields |= {ours: nested[theirs] for theirs, ours in NESTED.items() if theirs in nested}
    full = nested.get("full_attn_layers")  # counted from 1
    if full is None:
        full = [layer + 1 for layer in layers if layer and not layer % 4]
    kinds = ["full_attention" if layer + 1 in full else "linear_attention" for layer in layers]
    parts = ["dense" if i < fields["first_k_dense_replace"] else "sparse" for i in layers]
    parts = fields.get("mlp_layer_types", parts)
    if not isinstance(parts, list) or len(parts) != len(layers) or {*parts} - {"dense", "sparse"}:
        raise ValueError(f"mlp_layer_types is {parts!r}: it names each layer dense or sparse")
    found = {
        "layer_types": kinds,
        EXPERTS: parts.count("sparse"),
        SHARE: share_of_width(fields, "linear_num_heads", "linear_head_dim"),
    }
    return found | fields


def _contract(fields: Fields) -> Fields:
    channels = fields[SHARE] * fields["hidden_size"] / fields["linear_num_heads"]
    found = {name: value for name, value in fields.items() if name != SHARE}
    parts = ["dense"] * fields["num_hidden_layers"]
    return found | {"linear_head_dim": round(channels), "mlp_layer_types": parts}


KIMI_LINEAR = Family(
    architecture="KimiLinearForCausalLM",
    fixed=HYBRID_FIXED | {"mixer_options.gate_bias": False},
    fields=HYBRID
    | {
        "layer_types": field("mixer", Kinds((("linear_attention", "kda"),))),
        "model_max_length": field("max_length", COUNT, 1_048_576),
        "rms_norm_eps": field("norm_epsilon .epsilon", POSITIVE, 1e-5),
        "linear_num_heads": field(".heads", COUNT, 32),
        SHARE: field(".key_share .value_share", POSITIVE),
        "linear_conv_kernel_dim": field(".kernel", COUNT, 4),
    },
    older={"max_position_embeddings": "model_max_length"},
    prefix="model.",
    layers="layers",
    outer={"embed_tokens.weight": Target("token_embedding/embedding")}
    | norm("norm", "output_norm"),
    inner=gated_mlp("block_sparse_moe")
    | norm("input_layernorm", "mixer_norm")
    | norm("post_attention_layernorm", "mlp_norm"),
    renamed={".mlp.": ".block_sparse_moe."},  # the authors' name of dense parts
    mixers={
        "kda": Mixer(
            below(
                DELTA_NET
                | dense("f_a_proj=decay_down", "f_b_proj=decay_up")
                | dense("g_a_proj=gate_down", "g_b_proj=gate_up")
                | {"A_log": Target("A_log", "third"), "dt_bias": Target("dt_bias")},
                "self_attn.",
                "mixer/",
            )
        )
    },
    expand=_expand,
    contract=_contract,
)
