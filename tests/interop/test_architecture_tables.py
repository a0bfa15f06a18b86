"""Entries of the newer mixers, as their authors store them."""

import numpy as np

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
