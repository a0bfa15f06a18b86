"""State dicts that do not fit: everything that is wrong, in one message."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from mecheval_jax.errors import UserError
from mecheval_jax.interop import (
    from_reference,
    from_reference_mixer,
    to_reference_mixer,
)
from mecheval_jax.interop.state_dict import FusedEntry
from mecheval_jax.mixers import mixer_of
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


# Catches a traceback for a parameter without axes.
def test_a_parameter_without_axes():
    fields = {"width": 16, "kernel": 3, "max_length": 5}
    params = mixer_of("base_conv", fields).init(jax.random.key(0), jnp.ones((1, 5, 16)))["params"]
    flat = {path: jnp.float32(0) for path in flatten_dict(params)}
    with pytest.raises(UserError, match=r"the model needs"):
        to_reference_mixer("base_conv", unflatten_dict(flat), fields)


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


# Catches parts that are taken one after the other although they alternate, parts of other lengths
# that are cut in equal pieces, and a layer that is [in, out] and is cut along its inputs.
def test_a_fused_entry():
    fused = FusedEntry("qg.bias", {"q": 4, "g": 2}, groups=2)
    entries = {"q": np.arange(4.0), "g": -np.arange(2.0)}
    fused.put_together(entries)
    assert list(entries) == ["qg.bias"]
    np.testing.assert_array_equal(entries["qg.bias"], [0, 1, -0.0, 2, 3, -1])
    fused.take_apart(entries)
    np.testing.assert_array_equal(entries["q"], np.arange(4.0))
    np.testing.assert_array_equal(entries["g"], -np.arange(2.0))
    fused.take_apart(entries)  # is no longer there
    assert set(entries) == {"q", "g"}
    entries = {"c.weight": np.arange(12.0).reshape(2, 6)}
    transposed = FusedEntry("c.weight", {"q": 4, "g": 2}, transposed=True)
    transposed.take_apart(entries)
    np.testing.assert_array_equal(entries["g"], [[4, 10], [5, 11]])
    transposed.put_together(entries)
    np.testing.assert_array_equal(entries["c.weight"], np.arange(12.0).reshape(2, 6))


# Catches an error of NumPy's, and an entry of another size whose parts fit by chance.
@pytest.mark.parametrize("damaged", [np.ones(5), np.array(1.0), np.ones((0, 2)), np.ones((6, 0))])
def test_a_fused_entry_of_another_size(damaged):
    entries = {"qg.bias": damaged}
    FusedEntry("qg.bias", {"q": 4, "g": 2}, groups=2).take_apart(entries)
    assert set(entries) == {"q", "g"}
    assert (entries["q"].shape, entries["g"].shape) != ((4,), (2,))


# Catches an error of NumPy's about rows that cannot be shared out among heads.
@pytest.mark.parametrize("shape", [(62, 32), (0, 32), ()])
def test_rows_that_the_heads_do_not_divide(shape):
    state, _ = golden_files.load("mixer__gated_attention_d32_h2")
    name, config = golden_files.MIXERS["gated_attention_d32_h2"]
    state = state | {"q_proj.weight": np.ones(shape, np.float32)}
    assert problems(from_reference_mixer, name, state, config) == [
        "g_proj.weight is missing",
        f"q_proj.weight is {shape}, the model needs (32, 32)",
    ]


# Catches an axis that is dropped although it is not of size 1, and whole numbers taken for weights.
def test_axes_and_types():
    state, _ = golden_files.load("mixer__mamba_d16")
    taps = state["conv1d.weight"]
    state |= {"conv1d.weight": np.repeat(taps, 3, axis=1), "D": np.ones(32, np.int32)}
    assert problems(from_reference_mixer, "mamba", state, {"width": 16}) == [
        "D holds int32, not floating-point numbers",
        "conv1d.weight is (32, 3, 4), the model needs (32, 1, 4)",
    ]
