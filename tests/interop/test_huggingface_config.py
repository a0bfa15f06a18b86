"""config.json of Hugging Face: what is read, refused, and written."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.interop import (
    huggingface,
)
from mecheval_jax.interop.huggingface_config import read_config, write_config
from mecheval_jax.models.language_model import LanguageModel, ModelConfig
from tests.support.huggingface import folder_of, loaded, refusal

pytest.importorskip("safetensors")


# Catches a field that changes the function and is passed over.
@pytest.mark.parametrize(
    ("name", "fields", "pattern"),
    [
        ("llama", {"rope_scaling": {"type": "linear", "factor": 2.0}}, "rope_type is 'linear'"),
        ("llama", {"rope_parameters": {"rope_type": "llama3"}}, "rope_type is 'llama3'"),
        ("llama", {"rope_parameters": "default"}, "rope_parameters is 'default' and no object"),
        ("llama", {"rope_parameters": {"rope_theta": 10**400}}, "a positive number"),
        ("llama", {"rope_parameters": {"full_attention": {}}}, "rope_type is {'full_attention'"),
        ("llama", {"hidden_act": "quick_gelu"}, "hidden_act is 'quick_gelu'.* gelu, gelu_new"),
        ("llama", {"head_dim": 8}, "head_dim is 8: valid is 4"),
        ("llama", {"sliding_window": 4}, "sliding_window is 4: valid is None"),
        ("llama", {"quantization_config": {"bits": 4}}, "quantization_config is"),
        ("llama", {"num_key_value_heads": 3}, "key_heads is 3: .* not divisible by"),
        ("llama", {"rms_norm_eps": 0}, "rms_norm_eps is 0: valid is a positive number"),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "inverse_layer_idx is True: .* False"),
        ("gpt2", {"scale_attn_weights": False}, "scale_attn_weights is False"),
        ("gpt2", {"add_cross_attention": True}, "add_cross_attention is True"),
        ("gpt2", {"n_layer": 2.5}, "n_layer is 2.5: valid is a whole number, at least 1"),
        ("gpt2", {"tie_word_embeddings": "yes"}, "tie_word_embeddings is 'yes'.* true or false"),
        ("gpt_neox_parallel", {"rope_parameters": {"partial_rotary_factor": 0.4}}, "3 channels"),
        ("gpt_neox_parallel", {"rope_parameters": {"partial_rotary_factor": 2}}, "at most 1"),
        ("gpt_neox_parallel", {"is_causal": False}, "is_causal is False"),
        ("mamba", {"hidden_act": "gelu"}, "hidden_act is 'gelu': valid is 'silu' or 'swish'"),
        ("mamba", {"time_step_rank": "full"}, "time_step_rank is 'full'.*'auto'"),
        ("mamba", {"intermediate_size": 48}, "intermediate_size is 48: valid is 32"),
        ("mamba2", {"time_step_limit": [0.0, 0.1]}, r"time_step_limit is \[0.0, 0.1\].*inf"),
        ("mamba2", {"num_heads": 8}, "num_heads is 8: valid is 4"),
        ("mamba2", {"n_groups": 3}, "3 groups"),
        ("jamba", {"num_hidden_layers": "4"}, "what its layers are cannot be read"),
        ("jamba", {"attn_layer_period": 0}, "what its layers are cannot be read"),
        ("qwen3_next", {"num_hidden_layers": 10**10}, "valid is at most 1024"),
        ("kimi_linear", {"linear_attn_config": None, "linear_head_dim": 10**400}, "cannot be read"),
        ("kimi_linear", {"mlp_layer_types": "dense"}, "mlp_layer_types is 'dense'"),
        ("kimi_linear", {"mlp_layer_types": ["dense"]}, "it names each layer dense or sparse"),
        (
            "mamba2",
            {"model_type": "mamba-2"},
            "unknown model_type 'mamba-2'.*did you mean 'mamba2'",
        ),
    ],
)
def test_configs_that_are_refused(name, fields, pattern, tmp_path):
    folder = folder_of(tmp_path, name, fields)
    with pytest.raises(UserError, match=pattern):
        huggingface.load(folder)


# Catches whole numbers beyond 32 bits, which JSON may have for floats, in an error of JAX's.
def test_large_whole_numbers(tmp_path):
    fields = {"rms_norm_eps": 10**10, "rope_parameters": {"rope_theta": 5 * 10**9}}
    config, params = huggingface.load(folder_of(tmp_path, "llama", fields))
    model, tokens = LanguageModel(config), jax.ShapeDtypeStruct((1, 5), jnp.int32)
    logits = jax.eval_shape(lambda tokens: model.apply({"params": params}, tokens), tokens)
    assert logits.shape == (1, 5, config.vocabulary_size)


# Catches a message that ends at the first field.
def test_all_fields_are_named(tmp_path):
    fields = {"hidden_act": "tanh", "attention_bias": 1, "num_attention_heads": 0}
    lines = refusal(huggingface.load, folder_of(tmp_path, "llama", fields)).splitlines()
    assert sorted(line.split()[0] for line in lines[1:]) == sorted(fields)


# Catches fields that are looked for only where the newest version has them.
@pytest.mark.parametrize(
    ("name", "older"),
    [
        ("gpt_neox_parallel", {"rotary_pct": 0.5, "rotary_emb_base": 500.0}),
        ("llama_tied", {"rope_theta": 500.0, "rope_scaling": None}),
        ("mamba2", {"time_step_limit": [0.0, float("inf")]}),
    ],
)
def test_older_files(name, older, tmp_path):
    folder = folder_of(tmp_path, name, {"rope_parameters": None} | older)
    assert huggingface.load(folder)[0] == loaded(name)[0]


# Catches absent fields with another meaning than in transformers.
def test_defaults(tmp_path):
    folder = folder_of(tmp_path, "gpt_neox_parallel")
    kept = ("model_type", "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads")
    fields = json.loads((folder / "config.json").read_text())
    fields = {name: fields[name] for name in (*kept, "intermediate_size")}
    (folder / "config.json").write_text(json.dumps(fields))
    config, _ = huggingface.load(folder)
    assert (config.parallel, config.tied, config.activation) == (True, False, "gelu")
    assert config.mixer_options["rotary_share"] == 0.25
    (folder / "config.json").write_text(json.dumps({"model_type": "gpt_neox"} | {"vocab_size": 29}))
    assert "hidden_size is missing" in refusal(huggingface.load, folder)


# Catches a model that is refused, or a null that transformers refuses, for a default of ours.
@pytest.mark.parametrize("name", ["llama", "jamba", "qwen3_next"])
def test_keys_of_all_heads(name):
    config = loaded(name)[0]
    options = {n: value for n, value in config.mixer_options.items() if n != "key_heads"}
    fields = write_config(dataclasses.replace(config, mixer_options=options))
    assert fields["num_key_value_heads"] == fields["num_attention_heads"]
    last = read_config(fields)[1].build_mixer(1)
    assert last.key_heads == last.heads


# Catches models that are written as others, which only differ where nobody looks.
@pytest.mark.parametrize(
    ("name", "changes", "pattern"),
    [
        ("llama", {"canon": 4}, "from llama:\n  model.canon is 4, there 0"),
        ("llama", {"positions": "alibi"}, "from llama:\n  model.positions is 'alibi'"),
        ("gpt2", {"parallel": True}, "from gpt2:\n  model.parallel is True, there False"),
        ("gpt2", {"mixer_options": {"heads": 2}}, "mixer_options.bias is False, there True"),
        ("mamba", {"output_norm": "layer"}, "model.output_norm is 'layer', there 'rms'"),
        ("mamba", {"mixer_options": {"d_conv": 0}}, "conv_kernel is 0: valid is"),
        ("mamba", {"mixer_options": {"d_state": [4, 8]}}, "mixer_options.d_state is 8, there 4"),
        ("mamba", {"mixer": "mamba,attention"}, "from jamba:\n  model.feed_forward is 'none'"),
        ("mamba", {"mixer": "mamba,hyena"}, "'mamba,hyena': checkpoints have attention, gated"),
        ("mamba", {"mixer": "hyena", "mixer_options": {}}, "'hyena': checkpoints have attention"),
        ("mamba2", {"norm_epsilon": 1e-5}, "mixer_options.epsilon is 0.001, there 1e-05"),
    ],
)
def test_models_that_no_checkpoint_has(name, changes, pattern, tmp_path):
    config = ModelConfig(**(vars(loaded(name)[0]) | changes))
    assert pattern in refusal(huggingface.save, tmp_path, config, {})
    assert not list(tmp_path.iterdir())
