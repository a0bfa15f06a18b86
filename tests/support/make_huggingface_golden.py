"""Makes tests/golden/huggingface: small models of transformers, with their logits in float64.

    python -m tests.support.make_huggingface_golden [NAME ...]

makes all or some, and needs requirements-interop.txt. The files in the repository were made with
transformers 5.24.0 and torch 2.13.0. They are facts about another program: no change of ours is a
reason to make them again, but a new family or variant adds its own folder.
"""

import contextlib
import sys
from typing import Any

import numpy as np

from tests.support.compilation import ROOT

FOLDER = ROOT / "tests" / "golden" / "huggingface"
SEED = 0
LENGTH = 11

SHAPE = {"vocab_size": 29, "hidden_size": 16, "num_hidden_layers": 2}
TRANSFORMER = SHAPE | {"intermediate_size": 24, "max_position_embeddings": 32}
GPT2 = {"vocab_size": 29, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 32}
NEOX = TRANSFORMER | {"num_attention_heads": 2, "layer_norm_eps": 1e-3}
LLAMA = TRANSFORMER | {"num_attention_heads": 4, "rms_norm_eps": 1e-3}
MAMBA = SHAPE | {"layer_norm_epsilon": 1e-3, "state_size": 4}
MAMBA2 = MAMBA | {"head_dim": 8, "num_heads": 4, "chunk_size": 4}  # fewer tokens than LENGTH
HYBRID = TRANSFORMER | {"num_attention_heads": 2, "num_key_value_heads": 1, "rms_norm_eps": 1e-3}
LINEAR_THEN_FULL = ["linear_attention", "full_attention"]
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("gpt2", GPT2 | {"n_inner": 24, "layer_norm_epsilon": 1e-3}),
    "gpt2_untied": ("gpt2", GPT2 | {"activation_function": "relu", "tie_word_embeddings": False}),
    "gpt_neox_parallel": ("gpt_neox", NEOX | {"rotary_pct": 0.5, "rotary_emb_base": 500.0}),
    "gpt_neox_sequential": (
        "gpt_neox",
        NEOX
        | {"use_parallel_residual": False, "attention_bias": False, "hidden_act": "gelu_new"}
        | {"tie_word_embeddings": True, "rotary_pct": 1.0},
    ),
    "llama": (
        "llama",
        LLAMA | {"num_key_value_heads": 2, "attention_bias": True, "mlp_bias": True},
    ),
    "llama_tied": (
        "llama",
        LLAMA
        | {"num_key_value_heads": 1, "hidden_act": "gelu", "tie_word_embeddings": True}
        | {"rope_parameters": {"rope_type": "default", "rope_theta": 500.0}},
    ),
    "mamba": ("mamba", MAMBA | {"time_step_rank": 3}),
    "mamba_untied": (
        "mamba",
        MAMBA
        | {"use_bias": True, "use_conv_bias": False, "conv_kernel": 3, "expand": 1}
        | {"tie_word_embeddings": False},
    ),
    "mamba2": ("mamba2", MAMBA2 | {"n_groups": 2}),
    "mamba2_tied": (
        "mamba2",
        MAMBA2
        | {"n_groups": 1, "use_bias": True, "use_conv_bias": False, "conv_kernel": 3}
        | {"tie_word_embeddings": True},
    ),
    "qwen3_next": (
        "qwen3_next",
        HYBRID
        | {"layer_types": LINEAR_THEN_FULL, "num_experts": 0, "head_dim": 8}
        | {"linear_num_key_heads": 2, "linear_num_value_heads": 2, "linear_conv_kernel_dim": 3}
        | {"linear_key_head_dim": 4, "linear_value_head_dim": 8, "attention_bias": True},
    ),
    "kimi_linear": (
        "kimi_linear",
        HYBRID
        | {"layer_types": ["linear_attention"] * 2, "mlp_layer_types": ["dense"] * 2}
        | {"linear_num_heads": 2, "linear_head_dim": 4, "linear_conv_kernel_dim": 3},
    ),
    "jamba": (
        "jamba",
        HYBRID
        | {"attn_layer_period": 2, "attn_layer_offset": 1, "num_experts": 1}
        | {"mamba_d_state": 4, "mamba_dt_rank": 3, "mamba_d_conv": 3, "mamba_proj_bias": True},
    ),
}
"""The ``model_type`` and the fields of config.json of each folder."""


def build(name: str, seed: int):
    """A model of transformers in which no parameter has the value that it starts with."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    model_type, fields = VARIANTS[name]
    tokens = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
    config = AutoConfig.for_model(model_type, **fields, **tokens)
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
            if model_type == "qwen3_next":  # 1 is added to scales, which is to be exact
                parameter.copy_((parameter * 4096).round() / 4096)
    return model


def tokens_of(seed: int) -> np.ndarray:
    """Token ids [2, LENGTH]."""
    return np.random.default_rng(seed).integers(0, SHAPE["vocab_size"], (2, LENGTH))


@contextlib.contextmanager
def _float64():
    """Where the models ask for float32 (in norms, softmax, rotary positions), they get float64."""
    import torch

    names = {(torch, "float32"): torch.float64, (torch, "float"): torch.float64}
    names[torch.Tensor, "float"] = torch.Tensor.double
    before = {place: getattr(*place) for place in names}
    for (owner, name), value in names.items():
        setattr(owner, name, value)
    try:
        yield
    finally:
        for (owner, name), value in before.items():
            setattr(owner, name, value)


def logits(model, tokens: np.ndarray) -> np.ndarray:
    """Logits [batch, length, vocabulary] of a model, computed in float64 throughout."""
    import torch
    from transformers import AutoModelForCausalLM

    with _float64(), torch.no_grad():
        double = AutoModelForCausalLM.from_config(model.config, attn_implementation="eager")
        double = double.double().eval()
        double.load_state_dict(model.state_dict())
        return double(torch.as_tensor(tokens), use_cache=False).logits.numpy()


def main() -> None:
    """Write the folders that the command line names, or all."""
    tokens = tokens_of(SEED)
    for name in sys.argv[1:] or VARIANTS:
        model = build(name, SEED)
        model.save_pretrained(FOLDER / name)
        (FOLDER / name / "generation_config.json").unlink(missing_ok=True)
        np.savez_compressed(
            FOLDER / name / "logits.npz", tokens=tokens, logits=logits(model, tokens)
        )


if __name__ == "__main__":
    main()
