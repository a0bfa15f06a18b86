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
    to_reference_mixer,
)
from mecheval_jax.models.language_model import ModelConfig, initialize
from tests.support import golden_files

SHAPE = {"layers": 2, "width": 32, "vocabulary_size": 44, "max_length": 64}
EMBEDDING = "backbone.embeddings.word_embeddings.weight"
MIXER = "backbone.layers.0.sequence_mixer"


def language_model(name):
    """A state dict of the reference, to be spoilt, and the config that it fits."""
    state, _ = golden_files.load(f"lm__{name}")
    positions = "learned" if name == "attention" else "none"
    return dict(state), ModelConfig(name, positions=positions, **SHAPE)


def problems(convert, *arguments):
    """The lines of the error, less the first."""
    with pytest.raises(UserError) as caught:
        convert(*arguments)
    head, *lines = str(caught.value).splitlines()
    assert head == "state dict does not fit:"
    return sorted(line.strip() for line in lines)


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


# Catches dense weights that are not transposed (square ones fit all the same), q and k swapped
# in the fused layer, and taps in reverse.
def test_layouts():
    state, _ = golden_files.load("mixer__attention_d16_h1")
    params = from_reference_mixer("attention", state, {"width": 16})
    np.testing.assert_array_equal(params["out_proj"]["kernel"], state["out_proj.weight"].T)
    for i, name in enumerate(("q_proj", "k_proj", "v_proj")):
        rows = state["Wqkv.weight"][16 * i : 16 * (i + 1)]
        np.testing.assert_array_equal(params[name]["kernel"], rows.T)
    state, _ = golden_files.load("mixer__mamba_d16")
    weight = from_reference_mixer("mamba", state, {"width": 16})["conv"]["weight"]
    np.testing.assert_array_equal(weight[3], state["conv1d.weight"][:, 0, 3])


# Catches an inverse that loses an entry, a layout that is not undone, and constants that differ
# from the reference's in the last bit. What is dead there is written, but not what it held.
@pytest.mark.parametrize("case", golden_files.MIXERS)
def test_there_and_back(case):
    name, config = golden_files.MIXERS[case]
    state, _ = golden_files.load(f"mixer__{case}")
    back = to_reference_mixer(name, from_reference_mixer(name, state, config), config)
    state = {entry.removeprefix("mixer."): array for entry, array in state.items()}
    assert {n: a.shape for n, a in back.items()} == {n: a.shape for n, a in state.items()}
    dead = {"mamba_without_conv_d16": "conv1d.", "gated_delta_net_d32_h2": "D"}.get(case, "none")
    for entry, array in state.items():
        if not entry.startswith(dead):
            np.testing.assert_array_equal(back[entry], array, err_msg=entry)


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


# Catches a report that ends at the first mistake, and a table that fills gaps by guessing.
def test_missing_extra_and_misshaped_entries_are_named_together():
    state, config = language_model("attention")
    del state[f"{MIXER}.out_proj.bias"]
    del state["backbone.ln_f.weight"]
    state["backbone.layers.0.norm1.weight"] = np.ones(31, np.float32)
    state["backbone.layers.2.norm1.weight"] = np.ones(32, np.float32)
    state[f"{MIXER}.rotary.freqs"] = np.ones(4, np.float32)
    assert problems(from_reference, state, config) == [
        "backbone.layers.0.norm1.weight is (31,), the model needs (32,)",
        f"{MIXER}.out_proj.bias is missing",
        f"{MIXER}.rotary.freqs has no place in this model",
        "backbone.layers.2.norm1.weight has no place in this model",
        "backbone.ln_f.weight is missing",
    ]


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


# Catches one parameter under three names of which two are dropped although they differ.
def test_duplicates_that_differ():
    state, _ = golden_files.load("mixer__hyena_d16")
    config = {"width": 16, "max_length": 64}
    changed = dict(state)
    changed["filter_fn.implicit_filter.5.freq"] = state["filter_fn.implicit_filter.5.freq"] + 1
    (line,) = problems(from_reference_mixer, "hyena", changed, config)
    assert "implicit_filter.5.freq differs from filter_fn.implicit_filter.1.freq" in line
    without = {n: a for n, a in state.items() if not re.search(r"filter\.[35]\.freq", n)}
    from_reference_mixer("hyena", without, config)


# Catches a fused layer that is cut into unequal parts.
def test_fused_layer_of_another_size():
    state, _ = golden_files.load("mixer__attention_d16_h1")
    state = state | {"Wqkv.weight": np.ones((47, 16), np.float32)}
    found = problems(from_reference_mixer, "attention", state, {"width": 16})
    assert "Wqkv.weight has 47 rows, the model 48" in found


# Catches a convolution that is thrown away where the model has one, and kept where it has none.
def test_the_convolution_that_is_never_read():
    state, _ = golden_files.load("mixer__mamba_without_conv_d16")
    assert "conv1d.weight" in state
    assert "conv" not in from_reference_mixer("mamba", state, {"width": 16, "d_conv": 0})
    state, _ = golden_files.load("mixer__mamba_d16")
    (line,) = problems(from_reference_mixer, "mamba", state, {"width": 16, "d_conv": 3})
    assert "conv1d.weight is (32, 1, 4), the model needs (32, 1, 3)" in line


# Catches an axis that is dropped although it is not of size 1, and whole numbers taken for weights.
def test_axes_and_types():
    state, _ = golden_files.load("mixer__mamba_d16")
    taps = state["conv1d.weight"]
    state |= {"conv1d.weight": np.repeat(taps, 3, axis=1), "D": np.ones(32, np.int32)}
    assert problems(from_reference_mixer, "mamba", state, {"width": 16}) == [
        "D holds int32, not floating-point numbers",
        "conv1d.weight is (32, 3, 4), the model needs (32, 1, 4)",
    ]


# Catches a constant of the architecture that is thrown away although it is another.
def test_constants_that_differ():
    state, _ = golden_files.load("mixer__hyena_d16")
    state = dict(state) | {"filter_fn.modulation.deltas": np.zeros((1, 1, 16), np.float32)}
    found = problems(from_reference_mixer, "hyena", state, {"width": 16, "max_length": 64})
    assert found == ["filter_fn.modulation.deltas is not the constant of this architecture"]


# Catches a function other than the reference's that takes the reference's weights in silence.
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"positions": "rotary"}, "encoding is 'rotary': the reference has 'none' only"),
        ({"mixer_options": {"window": 3}}, "window is 3: the reference has 0 only"),
        ({"mixer_options": {"heads": 4, "key_heads": 2}}, "key_heads is 2"),
    ],
)
def test_attention_that_the_reference_does_not_have(change, message):
    state, _ = language_model("attention")
    config = ModelConfig(**({"mixer": "attention", "positions": "learned"} | SHAPE | change))
    with pytest.raises(UserError, match=message):
        from_reference(state, config)


# Catches a field that no mixer of that name has, or that it needs.
def test_unknown_fields():
    with pytest.raises(UserError, match=r"unknown field of mamba 'd_cov'.*'d_conv'"):
        from_reference_mixer("mamba", {}, {"width": 16, "d_cov": 3})
    with pytest.raises(UserError, match="'base_conv' lacks a value for max_length"):
        from_reference_mixer("base_conv", {}, {"width": 16})
    with pytest.raises(UserError, match="d_conv is -1"):
        from_reference_mixer("mamba", {}, {"width": 16, "d_conv": -1})
