"""Gated slot attention: its equation, and shapes that cannot be."""

import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.mixers import GatedSlotAttention
from tests.support.matrix_state import by_head
from tests.support.mixer_cases import (
    BATCH,
    LENGTH,
    WIDTH,
    assert_gives,
    dense,
    in_float64,
    rms_norm,
    sigmoid,
    silu,
)


# Catches slots that forget with the gate of another, a softmax over tokens, and a scale that is
# not there.
def test_against_its_twin():
    mixer, params, x = in_float64("gated_slot_attention")
    heads, slots = mixer.heads, mixer.slots
    q, k, v = (by_head(silu(dense(x, params[f"{name}_proj"])), heads) for name in "qkv")
    f = by_head(sigmoid(dense(x, params["f_proj"])) ** (1 / 8), heads)
    keys, values = (np.zeros((BATCH, heads, slots, q.shape[-1])) for _ in range(2))
    o = np.zeros(q.shape)
    for t in range(LENGTH):
        forget = f[:, t, :, :, None]
        keys = forget * keys + (1 - forget) * k[:, t, :, None]
        values = forget * values + (1 - forget) * v[:, t, :, None]
        scores = np.exp(np.einsum("bhmk,bhk->bhm", keys, q[:, t]))
        o[:, t] = np.einsum("bhmv,bhm->bhv", values, scores / scores.sum(axis=-1, keepdims=True))
    o = rms_norm(silu(o).reshape(BATCH, LENGTH, WIDTH)) * params["o_norm"]["scale"]
    assert_gives("gated_slot_attention", dense(o, params["o_proj"]))


# Catches a reshape that fails with a message about arrays where the config is at fault.
def test_shapes_that_do_not_divide():
    with pytest.raises(UserError, match=r"16.*\b3 heads"):
        GatedSlotAttention(16, heads=3)
