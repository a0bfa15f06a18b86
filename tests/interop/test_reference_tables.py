"""Entries of the reference's mixers: their layouts, duplicates and constants."""

import re

import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.interop import (
    from_reference,
    from_reference_mixer,
    to_reference_mixer,
)
from mecheval_jax.models.language_model import ModelConfig
from tests.support import golden_files
from tests.support.reference import SHAPE, language_model, problems


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
    dead = {"mamba_without_conv_d16": "conv1d.", "gated_delta_net_d32_h2": "D"}
    dead = (dead | {"rwkv7_layer0_d32_h2": ("v0", "v1", "v2")}).get(case, "none")
    for entry, array in state.items():
        if not entry.startswith(dead):
            # Those of HGRN2's bounds alone are float64: they are computed from the stored bounds.
            np.testing.assert_array_equal(back[entry], array.astype(np.float32), err_msg=entry)


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


# Catches a convolution that is thrown away where the model has one, and kept where it has none.
def test_the_convolution_that_is_never_read():
    state, _ = golden_files.load("mixer__mamba_without_conv_d16")
    assert "conv1d.weight" in state
    assert "conv" not in from_reference_mixer("mamba", state, {"width": 16, "d_conv": 0})
    state, _ = golden_files.load("mixer__mamba_d16")
    (line,) = problems(from_reference_mixer, "mamba", state, {"width": 16, "d_conv": 3})
    assert "conv1d.weight is (32, 1, 4), the model needs (32, 1, 3)" in line


# Catches a constant of the architecture that is thrown away although it is another.
def test_constants_that_differ():
    state, _ = golden_files.load("mixer__hyena_d16")
    state = dict(state) | {"filter_fn.modulation.deltas": np.zeros((1, 1, 16), np.float32)}
    found = problems(from_reference_mixer, "hyena", state, {"width": 16, "max_length": 64})
    assert found == ["filter_fn.modulation.deltas is not the constant of this architecture"]


# Catches constants that are refused because they were rounded with all other entries.
@pytest.mark.parametrize("dtype", [np.float16, jnp.bfloat16])
def test_constants_in_half_precision(dtype):
    state, _ = golden_files.load("mixer__hyena_d16")
    half = {name: array.astype(dtype) for name, array in state.items()}
    config = {"width": 16, "max_length": 64}
    params = from_reference_mixer("hyena", half, config)
    np.testing.assert_array_equal(params["D"], half["filter_fn.bias"].astype(np.float32))
    name = "filter_fn.modulation.deltas"
    half[name] = (1.02 * state[name]).astype(dtype)
    assert problems(from_reference_mixer, "hyena", half, config) == [
        f"{name} is not the constant of this architecture"
    ]


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
