"""Qwen3-Next: which of its checkpoints are read, and what the others are told."""

import dataclasses

import pytest

from mecheval_jax.interop import huggingface
from mecheval_jax.interop.huggingface_config import read_config, write_config
from tests.support.huggingface import folder_of, loaded, refusal

pytest.importorskip("safetensors")


# Catches layers of experts that are read as dense ones, heads of values that share keys, and kinds
# of layers that are taken for others.
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_experts": 4}, "number of layers with experts is 2: valid is 0"),
        ({"num_experts": 4, "mlp_only_layers": [0]}, "layers with experts is 1: valid is 0"),
        ({"linear_num_value_heads": 4}, "linear_num_value_heads is 4: valid is 2"),
        ({"head_dim": 16}, "head_dim is 16: valid is 8, with the other fields"),
        ({"layer_types": ["linear_attention", "mamba"]}, "of linear_attention, full_attention"),
        ({"layer_types": ["full_attention"]}, "kinds of layers are 1: valid is num_hidden_layers"),
        ({"linear_key_head_dim": "4"}, "linear_key_head_dim / hidden_size is None"),
        ({"num_key_value_heads": None}, "num_key_value_heads is None: valid is a whole number"),
        ({"rms_norm_eps": None}, "rms_norm_eps is None: valid is a positive number"),
        ({"num_experts": None}, "number of layers with experts is 2: valid is 0"),
    ],
)
def test_configs_that_are_refused(fields, message, tmp_path):
    assert message in refusal(huggingface.load, folder_of(tmp_path, "qwen3_next", fields))


# Catches an interval that is counted from the first layer, and experts that no layer has.
def test_layers_by_an_interval(tmp_path):
    fields = {"layer_types": None, "full_attention_interval": 2}
    fields |= {"num_experts": 4, "mlp_only_layers": [0, 1]}
    config, _ = huggingface.load(folder_of(tmp_path, "qwen3_next", fields))
    assert config == loaded("qwen3_next")[0]


# Catches a model without attention that is written with heads of its own.
def test_a_model_of_one_kind():
    config = dataclasses.replace(
        loaded("qwen3_next")[0],
        mixer="gated_delta_net",
        mixer_options={"heads": 2, "epsilon": 1e-3},
    )
    fields = write_config(config)
    assert "head_dim" not in fields
    assert read_config(fields)[1].build_mixer(1) == config.build_mixer(1)
