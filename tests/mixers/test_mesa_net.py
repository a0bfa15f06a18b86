"""MesaNet: its equation, and what it answers to a key that it has seen."""

import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.mixers import MesaNet
from tests.support import references
from tests.support.matrix_state import by_head
from tests.support.mixer_cases import (
    BATCH,
    LENGTH,
    assert_gives,
    dense,
    in_float64,
    rms_norm,
    sigmoid,
    silu,
    softplus,
)


# Catches sums that decay apart, a penalty that is not added to the diagonal alone, and values with
# a convolution.
def test_against_its_twin():
    mixer, params, x = in_float64("mesa_net")
    heads = mixer.heads
    taps = lambda name: params[f"{name}_conv"]["weight"]
    q, k = (
        by_head(silu(references.short_convolution(dense(x, params[f"{n}_proj"]), taps(n))), heads)
        for n in "qk"
    )
    q, k = (h / np.sqrt((h**2).sum(axis=-1, keepdims=True) + 1e-6) for h in (q, k))
    v = by_head(dense(x, params["v_proj"]), heads)
    a, beta = (sigmoid(dense(x, params[f"{n}_proj"])) for n in "ab")
    penalty = (softplus(params["penalty"]) + 0.25).reshape(heads, -1)
    size = q.shape[-1]
    G, H, o = np.zeros((BATCH, heads, size, size)), np.zeros((BATCH, heads, size, size)), []
    for t in range(LENGTH):
        decay, weighted = a[:, t, :, None, None], beta[:, t, :, None] * k[:, t]
        G = decay * G + weighted[..., None] * k[:, t, :, None]
        H = decay * H + weighted[..., None] * v[:, t, :, None]
        system = G + np.stack([np.diag(row) for row in penalty])
        solution = np.linalg.solve(system, q[:, t, ..., None])[..., 0]
        o.append(np.einsum("bhkv,bhk->bhv", H, solution))
    o = rms_norm(np.stack(o, axis=1)) * params["o_norm"]["scale"]
    assert_gives("mesa_net", dense(o.reshape(BATCH, LENGTH, -1), params["o_proj"]))


# Catches a reshape that fails with a message about arrays where the config is at fault.
def test_shapes_that_do_not_divide():
    with pytest.raises(UserError, match=r"16.*\b3 heads"):
        MesaNet(16, heads=3)
