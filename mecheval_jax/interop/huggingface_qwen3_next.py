"""Qwen3-Next: Gated DeltaNet and gated attention, layer by layer.

Only models whose feed-forward parts are dense, and whose heads of values are as many as those of
keys, have a form here.
"""

from mecheval_jax import mixers
from mecheval_jax.interop.huggingface_family import (
    ATTENTION,
    EXPERTS,
    HYBRID,
    HYBRID_FIXED,
    THETA,
    TURNED,
    Family,
    Fields,
    Fused,
    Mixer,
    gated_mlp,
    of_mixer,
    share_of_width,
    where_given,
)
from mecheval_jax.interop.huggingface_fields import (
    COUNT,
    FLAG,
    POSITIVE,
    SHARE,
    Kinds,
    field,
    only,
)
from mecheval_jax.interop.state_dict import Target, below, dense, parameters

LINEAR, FULL = "gated_delta_net", "gated_attention"
SHARES = {
    kind: f"linear_num_{kind}_heads * linear_{kind}_head_dim / hidden_size"
    for kind in ("key", "value")
}
DEFAULTS = {
    "head_dim": 256,
    "linear_num_key_heads": 16,
    "linear_num_value_heads": 32,
    "linear_key_head_dim": 128,
    "linear_value_head_dim": 128,
    "num_experts": 512,
    "decoder_sparse_step": 1,
    "mlp_only_layers": (),
    "full_attention_interval": 4,
}
"""Values of the fields that others are computed from, where they are absent."""


def _expand(fields: Fields) -> Fields:
    fields = DEFAULTS | where_given(fields, ("layer_types", "mlp_only_layers"))
    layers = range(fields.get("num_hidden_layers", 0))
    step, every = fields["decoder_sparse_step"], fields["full_attention_interval"]
    dense_only = layers if fields["num_experts"] == 0 else fields["mlp_only_layers"]
    found = {
        "layer_types": [
            "linear_attention" if (layer + 1) % every else "full_attention" for layer in layers
        ],
        EXPERTS: sum(layer not in dense_only and not (layer + 1) % step for layer in layers),
    }
    for kind, name in SHARES.items():
        names = (f"linear_num_{kind}_heads", f"linear_{kind}_head_dim")
        found[name] = share_of_width(fields, *names)
    return found | fields


def _contract(fields: Fields) -> Fields:
    found = {name: value for name, value in fields.items() if name not in SHARES.values()}
    for kind, name in SHARES.items():
        if name in fields:
            channels = fields[name] * fields["hidden_size"] / fields["linear_num_key_heads"]
            found[f"linear_{kind}_head_dim"] = round(channels)
    return found | {"num_experts": 0}


def _norm(theirs: str, ours: str) -> dict[str, Target]:
    """Table of an RMSNorm whose scale is stored less 1."""
    return {f"{theirs}.weight": Target(f"{ours}/scale", "less_one")}


QWEN3_NEXT = Family(
    architecture="Qwen3NextForCausalLM",
    fixed=HYBRID_FIXED,
    fields=HYBRID
    | ATTENTION
    | {
        "layer_types": field(
            "mixer", Kinds((("linear_attention", LINEAR), ("full_attention", FULL)))
        ),
        "max_position_embeddings": field("max_length", COUNT, 32_768),
        "rms_norm_eps": field(f"norm_epsilon .epsilon@{LINEAR} .epsilon@{FULL}", POSITIVE, 1e-6),
        "linear_num_key_heads": field(f".heads@{LINEAR}", COUNT, 16),
        SHARES["key"]: field(f".key_share@{LINEAR}", POSITIVE),
        SHARES["value"]: field(f".value_share@{LINEAR}", POSITIVE),
        "linear_conv_kernel_dim": field(f".kernel@{LINEAR}", COUNT, 4),
        "num_attention_heads": field(f".heads@{FULL}", COUNT, 16),
        "num_key_value_heads": field(f".key_heads@{FULL}", COUNT, 2),
        "attention_bias": field(f".bias@{FULL} .out_bias@{FULL}", FLAG, False),
        "rope_parameters.rope_type": only("default"),
        THETA: field(f".rotary_base@{FULL}", POSITIVE, 10_000.0),
        TURNED: field(f".rotary_share@{FULL}", SHARE, 0.25),
    },
    older={"rope_theta": THETA, "partial_rotary_factor": TURNED},
    derived={
        "head_dim": of_mixer(mixers.GatedAttention, "head"),
        "linear_num_value_heads": of_mixer(mixers.GatedDeltaNet, "heads"),
    },
    prefix="model.",
    layers="layers",
    outer={"embed_tokens.weight": Target("token_embedding/embedding")}
    | _norm("norm", "output_norm"),
    inner=gated_mlp("mlp")
    | _norm("input_layernorm", "mixer_norm")
    | _norm("post_attention_layernorm", "mlp_norm"),
    mixers={
        LINEAR: Mixer(
            dense("linear_attn.out_proj=mixer/o_proj")
            | below(parameters("A_log", "dt_bias"), "linear_attn.", "mixer/")
            | {"linear_attn.norm.weight": Target("mixer/o_norm/scale")},
            (
                Fused(
                    "linear_attn.in_proj_qkvz",
                    {"q": "q_proj", "k": "k_proj", "v": "v_proj", "z": "g_proj"},
                    by_head=True,
                ),
                Fused("linear_attn.in_proj_ba", {"b": "b_proj", "a": "a_proj"}, by_head=True),
                Fused("linear_attn.conv1d", {name: f"{name}_conv" for name in "qkv"}, taps=True),
            ),
        ),
        FULL: Mixer(
            dense(
                *(f"self_attn.{name}=mixer/{name}" for name in ("k_proj", "v_proj")),
                "self_attn.o_proj=mixer/out_proj",
            )
            | {f"self_attn.{n}_norm.weight": Target(f"mixer/{n}_norm/scale") for n in "qk"},
            (Fused("self_attn.q_proj", {"q": "q_proj", "gate": "g_proj"}, by_head=True),),
        ),
    },
    expand=_expand,
    contract=_contract,
)
