"""Checkpoints of transformers come in, give its logits, go out again; others are refused."""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.interop import (
    huggingface,
    save_safetensors,
)
from mecheval_jax.models.language_model import LanguageModel, ModelConfig, initialize
from tests.support.golden_files import relative_error
from tests.support.huggingface import assert_gives_logits, folder_of, loaded, refusal, weights
from tests.support.make_huggingface_golden import FOLDER, VARIANTS
from tests.support.small import assert_same_bits

pytest.importorskip("safetensors")


# Catches q, k and v of a fused layer in another order, layouts, rotary planes and bases, groups
# of heads and of states, gates and activations that are exchanged, and the epsilons of norms.
@pytest.mark.parametrize("name", VARIANTS)
def test_logits(name):
    arrays = np.load(FOLDER / name / "logits.npz")
    assert arrays["logits"].dtype == np.float64
    assert_gives_logits(*loaded(name), arrays["tokens"], arrays["logits"])


# Catches a recurrent form without the options that only such checkpoints have.
@pytest.mark.parametrize("name", ["mamba", "mamba_untied", "mamba2_tied", "jamba"])
def test_recurrent_form(name):
    config, params = loaded(name)
    model, arrays = LanguageModel(config), np.load(FOLDER / name / "logits.npz")
    tokens = jnp.asarray(arrays["tokens"], jnp.int32)
    state = model.apply({"params": params}, len(tokens), 11, method="initial_state")
    step = lambda state, t: model.apply({"params": params}, state, t, method="step")
    _, logits = jax.jit(functools.partial(jax.lax.scan, step))(state, tokens.T)
    assert relative_error(logits.swapaxes(0, 1), arrays["logits"]) < 1e-5


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
    stored = dataclasses.replace(config, dtype="float32")  # a checkpoint does not hold it
    programs = [jax.make_jaxpr(LanguageModel(c).apply) for c in (stored, again)]
    ours, theirs = (p({"params": params}, jnp.zeros((1, 7), jnp.int32)) for p in programs)
    assert str(ours) == str(theirs)


# Catches a fused layer without numbers, of right length, that ends in an error of NumPy's.
@pytest.mark.parametrize(
    ("name", "entry", "shape"),
    [
        ("gpt2", "transformer.h.0.attn.c_attn.weight", (0, 48)),
        ("gpt_neox_parallel", "gpt_neox.layers.0.attention.query_key_value.weight", (48, 0)),
        ("qwen3_next", "model.layers.0.linear_attn.conv1d.weight", None),
    ],
)
def test_a_fused_layer_without_numbers(name, entry, shape, tmp_path):
    entries = weights(name)
    rows = entries[entry].shape[0]
    entries[entry] = np.zeros(shape or (rows, 1, 0), np.float32)
    message = refusal(huggingface.load, folder_of(tmp_path, name, entries=entries))
    assert f"{entry} (q) is (" in message


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


# Catches an entry of a file that is taken from another one, as what was last read or is left over,
# an entry that its file lacks, and a name of a file that the system refuses.
def test_files_of_weights_give_what_the_index_names(tmp_path):
    folder, entries = folder_of(tmp_path, "llama"), weights("llama")
    (folder / "model.safetensors").unlink()
    norm, embedding = "model.norm.weight", "model.embed_tokens.weight"
    stale = {norm: entries[norm] + 1, embedding: entries[embedding] + 1}
    save_safetensors(folder / "0.safetensors", entries | {embedding: stale[embedding]})
    save_safetensors(folder / "1.safetensors", entries | {norm: stale[norm]})
    index = {name: f"{int(name == embedding)}.safetensors" for name in entries}

    def load_from(owners):
        content = json.dumps({"weight_map": owners})
        (folder / "model.safetensors.index.json").write_text(content)
        return huggingface.load(folder)

    assert_same_bits(load_from(index)[1], loaded("llama")[1])
    assert "1.safetensors holds no model.extra" in refusal(
        load_from, index | {"model.extra": "1.safetensors"}
    )
    del index["model.norm.weight"]
    save_safetensors(folder / "2.safetensors", {"model.extra": np.ones(3)})
    assert "model.extra has no place in this model" in refusal(
        load_from, index | {"model.extra": "2.safetensors"}
    )
    long = "a" * 300
    assert f"no files of the folder: ['{long}']" in refusal(load_from, index | {norm: long})


# Catches pickles that are opened, and files that end in a traceback.
def test_files_that_cannot_be_read(tmp_path):
    assert "there is no file" in refusal(huggingface.load, tmp_path)
    folder = folder_of(tmp_path, "mamba")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    message = refusal(huggingface.load, folder)
    assert "neither model.safetensors nor" in message
    assert "pytorch_model.bin is pickled" in message
    for index in ({"weight_map": [1]}, {"weight_map": {"a": 3}}, {}):
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
        assert "is damaged" in refusal(huggingface.load, folder)
    (folder / "model.safetensors").write_bytes(b"no header at all")
    assert "cannot be read as safetensors" in refusal(huggingface.load, folder)
    (folder / "config.json").write_text("{")
    assert "is damaged" in refusal(huggingface.load, folder)
    (folder / "config.json").write_text("[]")
    assert "is a list, and not an object" in refusal(huggingface.load, folder)


# Catches parameters of another model, written without a word.
def test_parameters_of_another_config(tmp_path):
    config, params = loaded("gpt2")
    without = {name: leaf for name, leaf in params.items() if name != "output_norm"}
    assert "ln_f.bias is missing" in refusal(huggingface.save, tmp_path, config, without)
    assert "output_head" in refusal(huggingface.save, tmp_path, config, loaded("gpt2_untied")[1])
    assert not list(tmp_path.iterdir())


# Catches weights that are replaced before it is known that the config cannot be.
def test_what_cannot_be_written_replaces_nothing(tmp_path):
    huggingface.save(tmp_path, *loaded("gpt2"))
    before = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "config.json").unlink()
    (tmp_path / "config.json").mkdir()
    message = refusal(huggingface.save, tmp_path, *loaded("mamba"), overwrite=True)
    assert message == f"{tmp_path / 'config.json'} cannot be written: it is a folder"
    assert (tmp_path / "model.safetensors").read_bytes() == before


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
