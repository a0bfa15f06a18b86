"""State dicts that do not fit are refused, with everything that is wrong in one message."""

import dataclasses
import re

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from mecheval_jax.errors import UserError
from mecheval_jax.interop import (
    from_reference,
    from_reference_mixer,
    to_reference,
    to_reference_mixer,
)
from mecheval_jax.models.language_model import ModelConfig, initialize
from tests.support import golden_files
from tests.support.reference import EMBEDDING, SHAPE, language_model, problems

DELTA = ("delta_net", "gated_delta_net", "kda", "gated_delta_net_2", "gated_delta_product", "comba")


# Catches a parameter that keeps its random value, or another shape, after loading.
@pytest.mark.parametrize("name", golden_files.LANGUAGE_MODELS)
def test_the_whole_tree_is_filled(name):
    state, config = language_model(name)
    params = flatten_dict(from_reference(state, config), sep="/")
    fresh = jax.eval_shape(lambda key: initialize(config, key), jax.random.key(0))
    expected = flatten_dict(fresh, sep="/")
    assert {path: leaf.shape for path, leaf in params.items()} == {
        path: leaf.shape for path, leaf in expected.items()
    }


# Catches a head that is left out, and layers whose names are mixed up.
@pytest.mark.parametrize("name", golden_files.LANGUAGE_MODELS)
def test_language_models_there_and_back(name):
    state, config = language_model(name)
    back = to_reference(from_reference(state, config), config)
    assert set(back) == set(state)
    for entry, array in state.items():
        np.testing.assert_array_equal(back[entry], array, err_msg=entry)


# Catches a config that is beyond the study and is converted as if it were not.
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"canon": 4}, "model.canon is 4: in the study's models it is 0"),
        ({"tied": False}, "model.tied is False"),
        ({"mixer": "lstm"}, "the reference has no mixer LSTM"),
    ],
)
def test_models_beyond_the_study(change, message):
    state, _ = language_model("attention")
    config = ModelConfig(**({"mixer": "attention"} | SHAPE | change))
    with pytest.raises(UserError, match=message):
        from_reference(state, config)


# Catches a model that is told by the text of its name: this one is the same model.
def test_a_hybrid_that_is_named_layer_by_layer():
    state, config = language_model("based")
    named = dataclasses.replace(config, mixer="based,based")
    back = to_reference(from_reference(state, named), named)
    assert set(back) == set(state)


# Catches a whole model whose layers share parameters, of which the message spoke as of no one's.
def test_shared_parameters_have_no_place():
    config = ModelConfig(**({"mixer": "hgrn2"} | SHAPE))
    message = "'hgrn2': the lower_bounds that its layers share have no place"
    with pytest.raises(UserError, match=message):
        to_reference({}, config)
    with pytest.raises(UserError, match=message):
        from_reference({}, config)


# Catches a mixer that is written, or read, as one that computes something else.
@pytest.mark.parametrize(
    ("mixer", "fields", "message"),
    [
        *((name, {"kernel": 0}, "this mixer has no silu, the reference keeps") for name in DELTA),
        ("path_attention", {"kernel": 0}, "the reference has no silu, this mixer has it"),
        ("path_attention", {"kernel": 4}, "kernel is 4: the reference has 3 only"),
        ("path_attention", {"window": 3}, "window is 3: the reference has 0 only"),
        ("path_attention", {"rank": 4}, "rank is 4: the reference has 32 only"),
        ("path_attention", {"heads": 4, "key_heads": 2}, "key_heads is 2: the reference has 0"),
        ("forgetting_attention", {"window": 3}, "window is 3: the reference has 0 only"),
        ("forgetting_attention_pro", {"window": 3}, "window is 3: the reference has 0 only"),
        ("forgetting_attention_pro", {"shift": False}, "shift is False: the reference has True"),
        ("mlstm", {"kernel": 0}, "kernel is 0: the reference always has the short convolution"),
        ("mesa_net", {"kernel": 0}, "kernel is 0: the reference always has the short convolution"),
        ("log_linear_mamba2", {"d_conv": 0}, "d_conv is 0: the reference always has the short"),
        ("hyena", {"kernel": 0, "max_length": 8}, "kernel is 0: the reference always has"),
    ],
)
def test_mixers_that_the_reference_lacks(mixer, fields, message):
    fields = {"width": 32} | fields
    with pytest.raises(UserError, match=message):
        to_reference_mixer(mixer, {}, fields)
    with pytest.raises(UserError, match=message):
        from_reference_mixer(mixer, {}, fields)


# Catches a model of another shape that is loaded half: depth, positions, and the mixer itself.
@pytest.mark.parametrize(
    ("change", "pattern"),
    [
        ({"layers": 1}, r"backbone\.layers\.1\..* has no place"),
        ({"positions": "none"}, r"position_embeddings\.weight has no place"),
        ({"width": 16}, r"word_embeddings\.weight is \(44, 32\), the model needs \(44, 16\)"),
        ({"mixer": "based"}, r"Wqkv\.weight has no place"),
    ],
)
def test_another_model(change, pattern):
    state, _ = language_model("attention")
    config = ModelConfig(**({"mixer": "attention", "positions": "learned"} | SHAPE | change))
    assert any(re.search(pattern, line) for line in problems(from_reference, state, config))


# Catches a state dict that lacks a layer, or is of another width, and is handed on all the same.
@pytest.mark.parametrize(
    ("change", "pattern"),
    [
        ({"layers": 3}, r"layers\.2\.norm1\.weight is missing"),
        ({"layers": 1}, r"no names there for the parameters block_1/"),
        ({"width": 16}, r"word_embeddings\.weight is \(44, 32\), the model needs \(44, 16\)"),
    ],
)
def test_parameters_of_another_model(change, pattern):
    state, config = language_model("attention")
    params = from_reference(state, config)
    with pytest.raises(UserError, match=pattern):
        to_reference(params, dataclasses.replace(config, **change))


# Catches an error about a dictionary's key.
def test_parameters_of_no_mixer():
    with pytest.raises(UserError, match=r"implicit_filter\.1\.freq is missing"):
        to_reference_mixer("hyena", {}, {"width": 16, "max_length": 8})
    with pytest.raises(UserError, match=r"k_proj\.weight is missing"):
        to_reference_mixer("attention", {"q_proj": {"kernel": np.ones((16, 16))}}, {"width": 16})


# Catches a head that was trained apart from the embedding and is dropped in silence.
def test_tied_head():
    state, config = language_model("mamba")
    assert "lm_head.weight" in state
    state["lm_head.weight"] = state[EMBEDDING] + 1e-3
    assert problems(from_reference, state, config) == [
        "lm_head.weight differs from the embedding, to which it is tied"
    ]
    del state["lm_head.weight"]  # tied, it is not needed
    from_reference(state, config)


# Catches a field that no mixer of that name has, or that it needs.
def test_unknown_fields():
    with pytest.raises(UserError, match=r"unknown field of mamba 'd_cov'.*'d_conv'"):
        from_reference_mixer("mamba", {}, {"width": 16, "d_cov": 3})
    with pytest.raises(UserError, match="'base_conv' lacks a value for max_length"):
        from_reference_mixer("base_conv", {}, {"width": 16})
    with pytest.raises(UserError, match="d_conv is -1"):
        from_reference_mixer("mamba", {}, {"width": 16, "d_conv": -1})
