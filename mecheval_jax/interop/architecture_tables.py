"""Names and layouts of newer mixers' parameters in the code of their authors.

``fla`` is fla-org/flash-linear-attention.
"""

import flax.linen as nn

from mecheval_jax import mixers
from mecheval_jax.interop.reference_tables import CONVOLVED, Reference
from mecheval_jax.interop.state_dict import (
    QKV,
    Table,
    Target,
    dense,
    parameters,
    short_convolution,
)
from mecheval_jax.mixers.mamba3_rates import RATES

OUT = "o_proj=out_proj"


def _scales(*pairs: str) -> Table:
    """Table of norms without biases, "theirs=ours" or one name for both."""
    found = {}
    for pair in pairs:
        theirs, _, ours = pair.partition("=")
        found[f"{theirs}.weight"] = Target(f"{ours or theirs}/scale")
    return found


CANON_ATTENTION = Reference(
    dense(*QKV, OUT) | short_convolution("canonB", "qkv_canon"), defaults=("window",)
)
"""Attention with Canon-B, as facebookresearch/PhysicsLM4 has it."""

NEWER_MIXERS: dict[type[nn.Module], Reference] = {
    # fla.
    mixers.ForgettingAttention: Reference(
        dense(*QKV, "f_proj", "g_proj", OUT) | _scales("q_norm", "k_norm"),
        defaults=("shift", "output_norm", "window"),
    ),
    # zhixuan-lin/forgetting-transformer.
    mixers.ForgettingAttentionPro: Reference(
        dense("q_proj", "fgate_proj=f_proj", "ogate_proj=g_proj", OUT)
        | dense(*(f"{n}_proj.linear={n}_proj" for n in "kv"))
        | dense(*(f"{n}_proj.shift_proj={n}_mix" for n in "kv"))
        | _scales("q_norm", "k_norm", "output_norm=o_norm"),
        defaults=("shift", "key_heads", "window"),
    ),
    # fla.
    mixers.PathAttention: Reference(
        dense(*QKV, "w_proj.0=w_down", "w_proj.1=w_up", "bt_proj=b_proj", "g_proj=f_proj", OUT)
        | short_convolution("w_conv1d", "w_conv")
        | _scales("maybe_q_norm=q_norm", "maybe_k_norm=k_norm"),
        defaults=("window", "kernel", "rank", "key_heads"),
        nonzero={"kernel": "without its convolution the reference has no silu, this mixer has it"},
        together={
            ("g_proj.weight", "maybe_q_norm.weight"): "here a forget gate comes with norms of "
            "queries and keys, in the reference each has an option of its own"
        },
    ),
    # huggingface/transformers, Qwen3-Next.
    mixers.GatedAttention: Reference(
        dense(*QKV, "g_proj", OUT) | _scales("q_norm", "k_norm"),
        fused={"q_proj": ("q_proj", "g_proj")},
        by_head=True,
        defaults=("window", "encoding"),
    ),
    # state-spaces/mamba.
    mixers.Mamba3: Reference(
        dense("in_proj", "out_proj")
        | _scales("B_norm", "C_norm", "norm")
        | parameters("dt_bias", "B_bias", "C_bias", "D", *(f"mimo_{n}=mimo/{n}" for n in "xzo")),
        defaults=("gated",),
        unsaid={"rates": tuple(RATES)},
    ),
    # fla.
    mixers.HGRN2: Reference(
        dense("q_proj", "f_proj=k_proj", "i_proj=v_proj", "o_proj")
        | _scales("g_norm=o_norm")
        | parameters("lower_bounds=lower_bounds/logits"),
    ),
    # fla.
    mixers.GatedSlotAttention: Reference(
        dense(*QKV, "f_proj", "o_proj") | _scales("g_norm=o_norm")
    ),
    # fla.
    mixers.MesaNet: Reference(
        dense(*QKV, "a_proj", "b_proj", "o_proj")
        | short_convolution("q_conv1d", "q_conv")
        | short_convolution("k_conv1d", "k_conv")
        | _scales("o_norm")
        | parameters("lambda_params=penalty"),
        nonzero={"kernel": CONVOLVED},
    ),
    # fla.
    mixers.LogLinearMamba2: Reference(
        dense("in_proj", "out_proj")
        | short_convolution("conv1d", "conv")
        | _scales("norm")
        | parameters("dt_bias", "A_log", "L", "D"),
        nonzero={"d_conv": CONVOLVED},
    ),
    # NX-AI/xlstm.
    mixers.MLSTM: Reference(
        dense("proj_up=up_proj", "proj_down=down_proj")
        | dense("mlstm_cell.igate=i_proj", "mlstm_cell.fgate=f_proj")
        | short_convolution("conv1d.conv", "conv")
        | _scales("mlstm_cell.outnorm=norm")
        | parameters(*(f"{n}_proj.weight={n}_map" for n in "qkv"), "learnable_skip=skip"),
        nonzero={"kernel": CONVOLVED},
    ),
}
