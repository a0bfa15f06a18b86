"""State dicts that do not fit: everything that is wrong, in one message."""

import jax
import jax.numpy as jnp
import numpy as np

from mecheval_jax.interop import (
    from_reference,
    from_reference_mixer,
)
from mecheval_jax.interop.state_dict import join_heads, split_heads
from tests.support import golden_files
from tests.support.reference import MIXER, language_model, problems


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


# Catches a fused layer that is cut into unequal parts.
def test_fused_layer_of_another_size():
    state, _ = golden_files.load("mixer__attention_d16_h1")
    state = state | {"Wqkv.weight": np.ones((47, 16), np.float32)}
    found = problems(from_reference_mixer, "attention", state, {"width": 16})
    assert "Wqkv.weight has 47 rows, the model 48" in found


# Catches a model that computes in half precision because its weights are stored so.
def test_half_precision_is_widened():
    state, config = language_model("attention")
    half = {name: array.astype(np.float16) for name, array in state.items()}
    params = from_reference(half, config)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}


# Catches biases that stay where they are while their weights are put together by head.
def test_a_layer_of_two_parts_in_each_head():
    parts = {"q.weight": np.arange(8.0).reshape(4, 2), "g.weight": -np.arange(8.0).reshape(4, 2)}
    parts |= {"q.bias": np.arange(4.0), "g.bias": -np.arange(4.0)}
    entries = dict(parts)
    join_heads(entries, "q", ("q", "g"), 2)
    assert list(entries) == ["q.weight", "q.bias"]
    np.testing.assert_array_equal(entries["q.bias"], [0, 1, -0.0, -1, 2, 3, -2, -3])
    split_heads(entries, "q", ("q", "g"), 2)
    for name, array in parts.items():
        np.testing.assert_array_equal(entries[name], array)
    for damaged in (np.ones(6), np.array(1.0), np.ones((0, 2))):
        entries = {"q.weight": damaged}
        split_heads(entries, "q", ("q", "g"), 2)
        assert entries["q.weight"] is damaged


# Catches an axis that is dropped although it is not of size 1, and whole numbers taken for weights.
def test_axes_and_types():
    state, _ = golden_files.load("mixer__mamba_d16")
    taps = state["conv1d.weight"]
    state |= {"conv1d.weight": np.repeat(taps, 3, axis=1), "D": np.ones(32, np.int32)}
    assert problems(from_reference_mixer, "mamba", state, {"width": 16}) == [
        "D holds int32, not floating-point numbers",
        "conv1d.weight is (32, 3, 4), the model needs (32, 1, 4)",
    ]
