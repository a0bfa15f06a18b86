"""Checkpoints of transformers come in, give its logits, go out again; others are refused."""

import functools
import json
import pathlib
import shutil
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.interop import (
    from_reference,
    huggingface,
    load_safetensors,
    save_safetensors,
    to_reference,
)
from mecheval_jax.models.language_model import LanguageModel, ModelConfig, initialize
from tests.support import golden_files, make_huggingface_golden
from tests.support.golden_files import relative_error
from tests.support.make_huggingface_golden import FOLDER, VARIANTS
from tests.support.small import assert_same_bits

pytest.importorskip("safetensors")


@functools.cache
def loaded(name):
    return huggingface.load(FOLDER / name)


def weights(name):
    return load_safetensors(FOLDER / name / "model.safetensors")


def folder_of(path, name, fields=None, entries=None):
    """A copy of a golden folder, with other fields of config.json or other weights."""
    folder = pathlib.Path(path) / name
    shutil.copytree(FOLDER / name, folder)
    config = json.loads((folder / "config.json").read_text()) | (fields or {})
    (folder / "config.json").write_text(json.dumps(config))
    if entries is not None:
        save_safetensors(folder / "model.safetensors", entries, overwrite=True)
    return folder


def assert_gives_logits(config, params, tokens, expected):
    """In float32 and, wide enough for an error in the eighth digit, in float64."""
    apply = jax.jit(LanguageModel(config).apply)
    tokens = jnp.asarray(tokens, jnp.int32)
    assert relative_error(apply({"params": params}, tokens), expected) < 1e-5
    with jax.enable_x64(True):
        double = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), params)
        assert relative_error(apply({"params": double}, tokens), expected) < 1e-10


def refusal(function, *arguments, **options):
    with pytest.raises(UserError) as caught:
        function(*arguments, **options)
    return str(caught.value)


# Catches q, k and v of a fused layer in another order, layouts, rotary planes and bases, groups
# of heads and of states, gates and activations that are exchanged, and the epsilons of norms.
@pytest.mark.parametrize("name", VARIANTS)
def test_logits(name):
    arrays = np.load(FOLDER / name / "logits.npz")
    assert arrays["logits"].dtype == np.float64
    assert_gives_logits(*loaded(name), arrays["tokens"], arrays["logits"])


# Catches a recurrent form without the options that only such checkpoints have.
@pytest.mark.parametrize("name", ["mamba", "mamba_untied", "mamba2_tied"])
def test_recurrent_form(name):
    config, params = loaded(name)
    model, arrays = LanguageModel(config), np.load(FOLDER / name / "logits.npz")
    tokens = jnp.asarray(arrays["tokens"], jnp.int32)
    state = model.apply({"params": params}, len(tokens), 11, method="initial_state")
    step = lambda state, t: model.apply({"params": params}, state, t, method="step")
    _, logits = jax.jit(functools.partial(jax.lax.scan, step))(state, tokens.T)
    assert relative_error(logits.swapaxes(0, 1), arrays["logits"]) < 1e-5


# Catches an inverse that is none: weights under other names, or a config that says less.
@pytest.mark.parametrize("name", VARIANTS)
def test_round_trip(name, tmp_path):
    config, params = loaded(name)
    huggingface.save(tmp_path / "new", config, params)
    again, same = huggingface.load(tmp_path / "new")
    assert again == config
    assert_same_bits(same, params)
    written, original = load_safetensors(tmp_path / "new" / "model.safetensors"), weights(name)
    assert sorted(written) == sorted(original)
    for entry, array in original.items():
        np.testing.assert_array_equal(written[entry], array, err_msg=entry)


# Catches a config.json that is complete only where fields are named as in a loaded config.
@pytest.mark.parametrize(
    "config",
    [
        ModelConfig("mamba", 1, 16, 7, 9, output_norm="rms", parallel=True),
        ModelConfig("mamba2, mamba2", 2, 32, 7, 9, output_norm="rms", dtype="bfloat16"),
        ModelConfig("attention", 1, 16, 7, 9, positions="learned", mixer_options={"bias": True}),
    ],
    ids=lambda config: config.mixer,
)
def test_models_of_our_own(config, tmp_path):
    shapes = jax.eval_shape(lambda key: initialize(config, key), jax.random.key(0))
    draw = np.random.default_rng(0).standard_normal
    params = jax.tree.map(lambda leaf: jnp.asarray(draw(leaf.shape), leaf.dtype), shapes)
    huggingface.save(tmp_path, config, params)
    again, same = huggingface.load(tmp_path)
    assert_same_bits(same, params)
    programs = [jax.make_jaxpr(LanguageModel(c).apply) for c in (config, again)]
    ours, theirs = (p({"params": params}, jnp.zeros((1, 7), jnp.int32)) for p in programs)
    assert str(ours) == str(theirs)


# Catches a field that changes the function and is passed over.
@pytest.mark.parametrize(
    ("name", "fields", "pattern"),
    [
        ("llama", {"rope_scaling": {"type": "linear", "factor": 2.0}}, "rope_type is 'linear'"),
        ("llama", {"rope_parameters": {"rope_type": "llama3"}}, "rope_type is 'llama3'"),
        ("llama", {"rope_parameters": {"full_attention": {}}}, "rope_type is {'full_attention'"),
        ("llama", {"hidden_act": "quick_gelu"}, "hidden_act is 'quick_gelu'.* gelu, gelu_new"),
        ("llama", {"head_dim": 8}, "head_dim is 8: valid is 4"),
        ("llama", {"sliding_window": 4}, "sliding_window is 4: valid is None"),
        ("llama", {"quantization_config": {"bits": 4}}, "quantization_config is"),
        ("llama", {"num_key_value_heads": 3}, "not divisible by key_heads 3"),
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


# Catches weights that are left at random, dropped or reshaped, and a report of the first alone.
def test_weights_that_do_not_fit(tmp_path):
    entries, block = weights("gpt2"), "transformer.h.1."
    del entries[f"{block}mlp.c_fc.bias"]
    entries[f"{block}attn.c_attn.weight"] = np.ones((16, 47), np.float32)
    entries["transformer.h.2.ln_1.weight"] = np.ones(16, np.float32)
    entries["transformer.ln_f.bias"] = np.ones(16, np.int8)
    message = refusal(huggingface.load, folder_of(tmp_path, "gpt2", entries=entries))
    assert sorted(line.strip() for line in message.splitlines()[1:]) == [
        f"{block}attn.c_attn.weight (v) is (15, 16), the model needs (16, 16)",
        f"{block}mlp.c_fc.bias is missing",
        "transformer.h.2.ln_1.weight has no place in this model",
        "transformer.ln_f.bias holds int8, not floating-point numbers",
    ]


# Catches entries that no computation reads, and names without a prefix, which are refused.
def test_names_of_older_versions(tmp_path):
    entries = {n.removeprefix("transformer."): array for n, array in weights("gpt2").items()}
    entries |= {"h.0.attn.bias": np.tri(32, dtype=bool), "h.0.attn.masked_bias": np.float32([-1e4])}
    entries["lm_head.weight"] = entries["wte.weight"]
    _, params = huggingface.load(folder_of(tmp_path, "gpt2", entries=entries))
    assert_same_bits(params, loaded("gpt2")[1])

    entries = weights("gpt_neox_parallel")
    entries["gpt_neox.layers.0.attention.rotary_emb.inv_freq"] = np.ones(2, np.float32)
    entries["gpt_neox.layers.0.attention.bias"] = np.ones((1, 1, 32, 32), bool)
    entries["lm_head.weight"] = entries.pop("embed_out.weight")
    _, params = huggingface.load(folder_of(tmp_path, "gpt_neox_parallel", entries=entries))
    assert_same_bits(params, loaded("gpt_neox_parallel")[1])

    entries = weights("mamba")
    entries["backbone.embedding.weight"] = entries.pop("backbone.embeddings.weight")
    _, params = huggingface.load(folder_of(tmp_path, "mamba", entries=entries))
    assert_same_bits(params, loaded("mamba")[1])


# Catches a head that is dropped in silence although it is another one.
def test_tied_head_that_differs(tmp_path):
    entries = weights("mamba")
    entries["lm_head.weight"] = entries["backbone.embeddings.weight"] + 1
    message = refusal(huggingface.load, folder_of(tmp_path, "mamba", entries=entries))
    assert "lm_head.weight differs from the embedding, to which it is tied" in message


# Catches parameters that stay narrow, and one of several files that is not read.
def test_half_precision_in_several_files(tmp_path):
    folder, shards = folder_of(tmp_path, "llama"), {}
    (folder / "model.safetensors").unlink()
    halves = {
        name: array.astype(jnp.bfloat16 if i % 2 else np.float16)
        for i, (name, array) in enumerate(weights("llama").items())
    }
    for i, name in enumerate(halves):
        shards.setdefault(f"model-{i % 2}.safetensors", {})[name] = halves[name]
    for file, entries in shards.items():
        save_safetensors(folder / file, entries)
    index = {name: file for file, entries in shards.items() for name in entries}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    _, params = huggingface.load(folder)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    kernel = halves["model.layers.0.self_attn.q_proj.weight"].astype(np.float32).T
    np.testing.assert_array_equal(params["block_0"]["mixer"]["q_proj"]["kernel"], kernel)

    (folder / "model-1.safetensors").unlink()
    assert "['model-1.safetensors']" in refusal(huggingface.load, folder)
    index["model.norm.weight"] = "../llama/model-0.safetensors"
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    assert "no files of the folder: ['../llama" in refusal(huggingface.load, folder)


# Catches pickles that are opened, and files that end in a traceback.
def test_files_that_cannot_be_read(tmp_path):
    assert "there is no file" in refusal(huggingface.load, tmp_path)
    folder = folder_of(tmp_path, "mamba")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    message = refusal(huggingface.load, folder)
    assert "neither model.safetensors nor" in message
    assert "pytorch_model.bin is pickled" in message
    (folder / "model.safetensors").write_bytes(b"no header at all")
    assert "cannot be read as safetensors" in refusal(huggingface.load, folder)
    (folder / "config.json").write_text("{")
    assert "cannot be read as JSON" in refusal(huggingface.load, folder)
    (folder / "config.json").write_text("[]")
    assert "no JSON object" in refusal(huggingface.load, folder)


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
        ("mamba", {"mixer": "mamba,attention"}, "model.mixer is 'attention', there 'mamba'"),
        ("mamba", {"mixer": "hyena", "mixer_options": {}}, "'hyena': checkpoints have attention"),
        ("mamba2", {"norm_epsilon": 1e-5}, "mixer_options.epsilon is 0.001, there 1e-05"),
    ],
)
def test_models_that_no_checkpoint_has(name, changes, pattern, tmp_path):
    config = ModelConfig(**(vars(loaded(name)[0]) | changes))
    assert pattern in refusal(huggingface.save, tmp_path, config, {})
    assert not list(tmp_path.iterdir())


# Catches parameters of another model, written without a word.
def test_parameters_of_another_config(tmp_path):
    config, params = loaded("gpt2")
    without = {name: leaf for name, leaf in params.items() if name != "output_norm"}
    assert "ln_f.bias is missing" in refusal(huggingface.save, tmp_path, config, without)
    assert "output_head" in refusal(huggingface.save, tmp_path, config, loaded("gpt2_untied")[1])
    assert not list(tmp_path.iterdir())


# Catches results that are overwritten in silence.
def test_files_are_not_overwritten(tmp_path):
    huggingface.save(tmp_path, *loaded("gpt2"))
    message = refusal(huggingface.save, tmp_path, *loaded("mamba"))
    assert "config.json" in message
    assert "model.safetensors exists already: overwrite=True" in message
    assert huggingface.load(tmp_path)[0].mixer == "attention"
    huggingface.save(tmp_path, *loaded("mamba"), overwrite=True)
    assert huggingface.load(tmp_path)[0].mixer == "mamba"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]


# Catches a state dict that a file changes: order of axes, scalars, names.
def test_state_dicts_in_files(tmp_path):
    state, _ = golden_files.load("lm__mamba")
    config = ModelConfig("mamba", 2, 32, 44, 64)
    entries = to_reference(from_reference(state, config), config)
    entries |= {"scalar": np.float32(3).reshape(()), "columns": np.arange(6.0).reshape(2, 3).T}
    path = tmp_path / "reference.safetensors"
    save_safetensors(path, entries)
    read = load_safetensors(path)
    assert sorted(read) == sorted(entries)
    for name, array in entries.items():
        assert read[name].shape == array.shape
        np.testing.assert_array_equal(read[name], array, err_msg=name)
    assert "exists already" in refusal(save_safetensors, path, entries)
    assert "is no folder" in refusal(save_safetensors, tmp_path / "none" / "x", entries)
    assert "there is no file" in refusal(load_safetensors, tmp_path / "none")


# Catches a traceback where a package is missing that few need.
def test_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    assert "pip install safetensors" in refusal(huggingface.load, FOLDER / "mamba")


# Catches golden files that are right by chance, and folders that only we can read.
@pytest.mark.parametrize("name", VARIANTS)
def test_against_transformers(name, tmp_path):
    pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    model, tokens = make_huggingface_golden.build(name, 1), make_huggingface_golden.tokens_of(1)
    expected = make_huggingface_golden.logits(model, tokens)
    model.save_pretrained(tmp_path / "theirs")
    config, params = huggingface.load(tmp_path / "theirs")
    assert_gives_logits(config, params, tokens, expected)
    huggingface.save(tmp_path / "ours", config, params)
    again, report = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "ours", output_loading_info=True
    )
    assert not any(report.values()), report
    assert relative_error(make_huggingface_golden.logits(again, tokens), expected) < 1e-12
