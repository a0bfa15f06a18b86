"""Kimi Linear: which of its checkpoints are read, and what the others are told."""

import pytest

from mecheval_jax.interop import huggingface
from tests.support.huggingface import folder_of, loaded, refusal, weights
from tests.support.small import assert_same_bits

pytest.importorskip("safetensors")


# Catches layers of latent attention or of experts that are read as others.
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"layer_types": ["linear_attention", "full_attention"]}, "of linear_attention"),
        ({"mlp_layer_types": ["dense", "sparse"]}, "layers with experts is 1: valid is 0"),
        ({"rms_norm_eps": None}, "rms_norm_eps is None: valid is a positive number"),
        ({"linear_num_heads": None}, "linear_num_heads is None: valid is a whole number"),
        ({"mlp_layer_types": None}, "layers with experts is 1: valid is 0"),
        ({"linear_attn_config": {"full_attn_layers": [2]}, "layer_types": None}, "full_attention"),
    ],
)
def test_configs_that_are_refused(fields, message, tmp_path):
    assert message in refusal(huggingface.load, folder_of(tmp_path, "kimi_linear", fields))


# Catches fields and names that are looked for only where transformers writes them.
def test_files_of_the_authors(tmp_path):
    nested = {"head_dim": 4, "num_heads": 2, "short_conv_kernel_size": 3}
    nested |= {"full_attn_layers": [], "kda_layers": [1, 2]}
    absent = ("layer_types", "linear_num_heads", "linear_head_dim", "linear_conv_kernel_dim")
    fields = dict.fromkeys((*absent, "mlp_layer_types"))
    fields |= {"linear_attn_config": nested, "first_k_dense_replace": 2}
    entries = {n.replace("block_sparse_moe", "mlp"): h for n, h in weights("kimi_linear").items()}
    config, params = huggingface.load(folder_of(tmp_path, "kimi_linear", fields, entries))
    assert config == loaded("kimi_linear")[0]
    assert_same_bits(params, loaded("kimi_linear")[1])
