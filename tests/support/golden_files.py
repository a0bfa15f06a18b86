"""The golden arrays: outputs of the reference study's own modules on seeded inputs.

`tests/golden/` holds copies of them. They came from the reference implementation (its
pinned mixers and mamba_ssm 2.2.4) and were reproduced independently in NumPy. They are
facts about another program: no change of ours is a reason to update them.
"""

import numpy as np

from tests.support.compilation import ROOT

FOLDER = ROOT / "tests" / "golden"

LIMIT = {"max_length": 64}
RWKV7 = {"width": 32, "heads": 2, "layers": 2}
RWKV7 |= {"w_rank": 8, "a_rank": 6, "v_rank": 4, "g_rank": 10}
HEADS = {"width": 32, "heads": 2}
MAMBA3 = {"width": 32, "d_state": 16, "head_dim": 16, "rates": "reciprocal"}
CANON_B = {"canon": 4, "canon_bias": False, "out_bias": False}
MIXERS = {
    "attention_d16_h1": ("attention", {"width": 16}),
    "attention_d32_h2_bias": ("attention", {"width": 32, "heads": 2, "bias": True}),
    "base_conv_k3_d16": ("base_conv", {"width": 16, "kernel": 3, **LIMIT}),
    "base_conv_k1_d16": ("base_conv", {"width": 16, "kernel": 1, **LIMIT}),
    "base_conv_k4_d32": ("base_conv", {"width": 32, "kernel": 4, **LIMIT}),
    "base_conv_k3_act_d16": (
        "base_conv",
        {"width": 16, "kernel": 3, "activation": True, **LIMIT},
    ),
    "base_conv_implicit_d16": ("base_conv", {"width": 16, "kernel": "implicit", **LIMIT}),
    "hyena_d16": ("hyena", {"width": 16, **LIMIT}),
    "hyena_bias_d16": ("hyena", {"width": 16, "skip": True, **LIMIT}),
    "h3_d16": ("h3", {"width": 16, **LIMIT}),
    "h3_d32_hd1_n8": ("h3", {"width": 32, "head_dim": 1, "d_state": 8, **LIMIT}),
    "based_d16_h1": ("based", {"width": 16}),
    "based_d32_h2": ("based", {"width": 32, "heads": 2}),
    "based_linear_view_d16": ("based", {"width": 16, "backend": "chunked"}),
    "hybrid_layer0_d16": ("base_conv", {"width": 16, "kernel": 3, **LIMIT}),
    "hybrid_layer1_d16": ("based", {"width": 16}),
    "rwkv4_layer0_d16": ("rwkv4", {"width": 16, "layer": 0, "layers": 2}),
    "rwkv4_layer1_d16": ("rwkv4", {"width": 16, "layer": 1, "layers": 2}),
    "delta_net_d32_h2": ("delta_net", {"width": 32, "heads": 2}),
    "gated_delta_net_d32_h2": ("gated_delta_net", {"width": 32, "heads": 2}),
    "kda_d32_h2": ("kda", {"width": 32, "heads": 2}),
    "kda_lower_bound_neg_d32_h2": (
        "kda",
        {"width": 32, "heads": 2, "key_share": 0.5, "bounded": True, "negative_eigenvalues": True},
    ),
    "gated_delta_net_2_d32_h2": ("gated_delta_net_2", {"width": 32, "heads": 2}),
    "gated_delta_net_2_neg_d32_h2": (
        "gated_delta_net_2",
        {"width": 32, "heads": 2, "key_share": 0.5, "negative_eigenvalues": True},
    ),
    "gated_delta_product_d32_h2": (
        "gated_delta_product",
        {"width": 32, "heads": 2, "key_share": 0.5, "value_share": 1.0},
    ),
    "delta_product_n3_d32_h2": (
        "gated_delta_product",
        {"width": 32, "heads": 2, "steps": 3, "forget_gate": False}
        | {"key_share": 0.5, "value_share": 1.0},
    ),
    "comba_d32_h2": (
        "comba",
        {"width": 32, "heads": 2, "key_share": 0.5, "value_share": 1.0},
    ),
    "rwkv7_layer0_d32_h2": ("rwkv7", {"layer": 0, **RWKV7}),
    "rwkv7_layer1_d32_h2": ("rwkv7", {"layer": 1, **RWKV7}),
    "gla_d32_h2": ("gla", {"width": 32, "heads": 2}),
    "retnet_d32_h2": ("retnet", {"width": 32, "heads": 2}),
    "mamba_d16": ("mamba", {"width": 16}),
    "mamba_d32_dconv3": ("mamba", {"width": 32, "d_conv": 3}),
    "mamba_d16_bias": ("mamba", {"width": 16, "bias": True}),
    "mamba_without_conv_d16": ("mamba", {"width": 16, "d_conv": 0}),
    "mamba_no_causal_conv1d_d16": ("mamba", {"width": 16, "d_conv": 1}),
    "mamba2_d32": ("mamba2", {"width": 32}),
    "mamba2_d32_hd16_n16_g2": (
        "mamba2",
        {"width": 32, "head_dim": 16, "d_state": 16, "groups": 2},
    ),
    "forgetting_attention_d32_h2": ("forgetting_attention", HEADS),
    "forgetting_attention_norm_gate_d32_h2": (
        "forgetting_attention",
        HEADS | {"norm": True, "gated": True},
    ),
    "forgetting_attention_pro_d32_h2": ("forgetting_attention_pro", HEADS),
    "path_attention_d32_h2": ("path_attention", HEADS),
    "path_attention_fox_d32_h2": ("path_attention", HEADS | {"forget_gate": True}),
    "gated_attention_d32_h2": ("gated_attention", HEADS),
    "gated_attention_kv1_d32_h2": ("gated_attention", HEADS | {"key_heads": 1}),
    "canon_b_attention_d32_h2": ("attention", HEADS | CANON_B | {"encoding": "rotary"}),
    "canon_b_attention_nope_d32_h2": ("attention", HEADS | CANON_B),
    "hgrn2_layer0_d32_h2": ("hgrn2", HEADS | {"layers": 2}),
    "hgrn2_layer1_d32_h2": ("hgrn2", HEADS | {"layers": 2, "layer": 1}),
    "gated_slot_attention_d32_h2": ("gated_slot_attention", HEADS | {"slots": 8}),
    "mesa_net_d32_h2": ("mesa_net", HEADS),
    "mlstm_d32_h2": ("mlstm", HEADS),
    "log_linear_mamba2_d32_h2": (
        "log_linear_mamba2",
        {"width": 32, "head_dim": 32, "d_state": 16},
    ),
    "mamba3_d32": ("mamba3", MAMBA3 | {"head_dim": 32}),
    "mamba3_norm_d32": ("mamba3", MAMBA3 | {"turned": 1.0, "out_norm": True}),
    "mamba3_mimo_r2_d32": ("mamba3", MAMBA3 | {"head_dim": 32, "ranks": 2}),
    "mamba3_mimo_r4_norm_d32": (
        "mamba3",
        MAMBA3 | {"d_state": 8, "turned": 1.0, "ranks": 4, "out_norm": True},
    ),
}
"""Name and fields of the mixer of each file; all but the explicit long convolution."""

LANGUAGE_MODELS = ("attention", "based", "hyena", "mamba")


def load(name: str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The state dict and the other arrays of one file, e.g. ``mixer__mamba_d16``."""
    arrays = dict(np.load(FOLDER / f"{name}.npz"))
    if "lower_bound_L16" in arrays:  # of layer 1 of 2: a softmax of two logits
        bound = arrays["lower_bound_L16"].astype(np.float64)
        arrays["sd/lower_bounds"] = np.stack([0 * bound, np.log(bound / (1 - bound))])
    state = {n.removeprefix("sd/"): a for n, a in arrays.items() if n.startswith("sd/")}
    return state, {n: a for n, a in arrays.items() if not n.startswith("sd/")}


def relative_error(ours, theirs) -> float:
    """max |ours - theirs| / max |theirs|."""
    theirs = np.asarray(theirs)
    return float(np.abs(np.asarray(ours) - theirs).max() / np.abs(theirs).max())
