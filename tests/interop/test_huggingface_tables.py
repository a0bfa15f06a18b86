"""Names of Hugging Face's weights, of all versions, and their inverse."""

import numpy as np
import pytest

from mecheval_jax.interop import (
    huggingface,
    load_safetensors,
)
from tests.support import make_huggingface_golden
from tests.support.golden_files import relative_error
from tests.support.huggingface import assert_gives_logits, folder_of, loaded, weights
from tests.support.make_huggingface_golden import VARIANTS
from tests.support.small import assert_same_bits

pytest.importorskip("safetensors")


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
