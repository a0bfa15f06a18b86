"""State dicts that do not fit are refused, with everything that is wrong in one message."""

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
)
from mecheval_jax.models.language_model import ModelConfig, initialize
from tests.support import golden_files
from tests.support.reference import EMBEDDING, SHAPE, language_model, problems


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
