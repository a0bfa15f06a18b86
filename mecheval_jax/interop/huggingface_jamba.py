"""Jamba: Mamba with norms inside and attention without positions, layer by layer.

Only models whose feed-forward parts are all dense have a form here.
"""

from mecheval_jax import mixers
from mecheval_jax.interop.huggingface_family import (
    ATTENTION,
    EXPERTS,
    HYBRID,
    HYBRID_FIXED,
    SELF_ATTENTION,
    Family,
    Fields,
    Mixer,
    gated_mlp,
)
from mecheval_jax.interop.huggingface_fields import (
    COUNT,
    COUNT_OR_AUTO,
    COUNT_OR_NULL,
    FLAG,
    POSITIVE,
    Kinds,
    field,
)
from mecheval_jax.interop.reference_tables import STUDY_MIXERS
from mecheval_jax.interop.state_dict import Target, below, norm

KINDS = "layers by attn_layer_period and attn_layer_offset"
DEFAULTS = {
    "attn_layer_period": 8,
    "attn_layer_offset": 4,
    "num_experts": 16,
    "expert_layer_period": 2,
    "expert_layer_offset": 1,
}
"""Values of the fields that say which layer is what, where they are absent."""


def _expand(fields: Fields) -> Fields:
    fields = DEFAULTS | fields
    layers = range(fields.get("num_hidden_layers", 0))

    def chosen(kind: str) -> list[bool]:
        every, first = fields[f"{kind}_layer_period"], fields[f"{kind}_layer_offset"]
        return [layer % every == first for layer in layers]

    experts = sum(chosen("expert")) if fields["num_experts"] > 1 else 0
    kinds = ["attention" if attends else "mamba" for attends in chosen("attn")]
    return fields | {KINDS: kinds, EXPERTS: experts}


def _contract(fields: Fields) -> Fields:
    """Of layers that no period gives, a file that is read as other layers."""
    kinds = fields[KINDS]
    attends = [layer for layer, kind in enumerate(kinds) if kind == "attention"]
    first, *others = attends or [len(kinds)]
    found = {name: value for name, value in fields.items() if name != KINDS}
    found |= {"attn_layer_offset": first, "num_experts": 1}
    return found | {"attn_layer_period": others[0] - first if others else len(kinds) + 1}


JAMBA = Family(
    architecture="JambaForCausalLM",
    fixed=HYBRID_FIXED
    | {
        "mamba_feed_forward": "glu",
        "mixer_options.inner_norms@mamba": True,
        "mixer_options.bias@attention": False,
        "mixer_options.out_bias@attention": False,
    },
    fields=HYBRID
    | ATTENTION
    | {
        KINDS: field("mixer", Kinds((("mamba", "mamba"), ("attention", "attention")))),
        "max_position_embeddings": field("max_length", COUNT, 262_144),
        "rms_norm_eps": field("norm_epsilon .epsilon@mamba", POSITIVE, 1e-6),
        "num_attention_heads": field(".heads@attention", COUNT, 32),
        "num_key_value_heads": field(".key_heads@attention", COUNT_OR_NULL, 8),
        "mamba_d_state": field(".d_state@mamba", COUNT, 16),
        "mamba_d_conv": field(".d_conv@mamba", COUNT, 4),
        "mamba_expand": field(".expand@mamba", COUNT, 2),
        "mamba_dt_rank": field(".dt_rank@mamba", COUNT_OR_AUTO, "auto"),
        "mamba_conv_bias": field(".conv_bias@mamba", FLAG, True),
        "mamba_proj_bias": field(".bias@mamba", FLAG, False),
    },
    prefix="model.",
    layers="layers",
    outer={"embed_tokens.weight": Target("token_embedding/embedding")}
    | norm("final_layernorm", "output_norm"),
    inner=gated_mlp("feed_forward")
    | norm("input_layernorm", "mixer_norm")
    | norm("pre_ff_layernorm", "mlp_norm"),
    mixers={
        "mamba": Mixer(
            below(
                STUDY_MIXERS[mixers.Mamba].table
                | norm("dt_layernorm", "dt_norm")
                | norm("b_layernorm", "B_norm")
                | norm("c_layernorm", "C_norm"),
                "mamba.",
                "mixer/",
            )
        ),
        "attention": Mixer(SELF_ATTENTION),
    },
    expand=_expand,
    contract=_contract,
)
