"""Entries of the newer mixers, as their authors store them."""

import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.interop import from_reference_mixer, to_reference_mixer
from tests.support import golden_files


# Catches gates that are taken for queries: in the fused layer both stand in each head.
def test_queries_and_gates_stand_in_each_head():
    state, _ = golden_files.load("mixer__gated_attention_kv1_d32_h2")
    name, config = golden_files.MIXERS["gated_attention_kv1_d32_h2"]
    params = from_reference_mixer(name, state, config)
    rows = state["q_proj.weight"]
    queries = np.concatenate([rows[:16], rows[32:48]])
    np.testing.assert_array_equal(params["q_proj"]["kernel"], queries.T)
    gates = np.concatenate([rows[16:32], rows[48:]])
    np.testing.assert_array_equal(params["g_proj"]["kernel"], gates.T)
    back = to_reference_mixer(name, params, config)
    np.testing.assert_array_equal(back["q_proj.weight"], rows)


# Catches a forget gate without the norms that come with it here, of which the message was about a
# missing entry.
def test_a_forget_gate_without_norms():
    state, _ = golden_files.load("mixer__path_attention_fox_d32_h2")
    name, config = golden_files.MIXERS["path_attention_fox_d32_h2"]
    del state["maybe_q_norm.weight"], state["maybe_k_norm.weight"]
    message = r"g_proj.weight without maybe_q_norm.weight: here a forget gate comes with norms"
    with pytest.raises(UserError, match=message):
        from_reference_mixer(name, state, config)


# Catches weights of another version, of the same names and shapes, that are read in silence.
def test_mamba3_of_another_version():
    state, _ = golden_files.load("mixer__mamba3_d32")
    name, config = golden_files.MIXERS["mamba3_d32"]
    unsaid = {field: value for field, value in config.items() if field != "rates"}
    with pytest.raises(UserError, match="rates, 'reciprocal' or 'softplus'"):
        from_reference_mixer(name, state, unsaid)
    with pytest.raises(UserError, match="unknown rates 'exp'"):
        from_reference_mixer(name, state, unsaid | {"rates": "exp"})
    older = from_reference_mixer(name, state, unsaid | {"rates": "softplus"})
    np.testing.assert_array_equal(older["D"], state["D"])
