"""Gated DeltaProduct: its equations, step by step."""

import numpy as np
import pytest

from tests.support import references
from tests.support.matrix_state import out
from tests.support.mixer_cases import (
    BATCH,
    LENGTH,
    assert_gives,
    dense,
    in_float64,
    sigmoid,
    silu,
    softplus,
)


# Catches a decay at every step, steps in another order or of other heads, and a query that reads
# before the last of them.
@pytest.mark.parametrize("case", ["gated_delta_product", "delta_product_no_conv"])
def test_against_its_twin(case):
    mixer, params, x = in_float64(case)
    n, heads = mixer.steps, mixer.heads

    def projected(name):
        h = dense(x, params[f"{name}_proj"])
        if mixer.kernel:
            h = references.short_convolution(h, params[f"{name}_conv"]["weight"])
            h = silu(h)
        return h.reshape(
            BATCH, LENGTH, -1, heads, h.shape[-1] // heads // (1 if name == "q" else n)
        )

    q, k, v = (projected(name) for name in "qkv")
    unit = lambda h: h / np.sqrt((h**2).sum(axis=-1, keepdims=True) + 1e-6)
    q, k = unit(q)[:, :, 0] / np.sqrt(q.shape[-1]), unit(k)
    beta = 2 * sigmoid(dense(x, params["b_proj"])).reshape(BATCH, LENGTH, n, heads, 1)
    decay = np.ones((BATCH, LENGTH, heads))
    if mixer.forget_gate:
        steps = softplus(dense(x, params["a_proj"]) + params["dt_bias"])
        decay = np.exp(-np.exp(params["A_log"]) * steps)
    state, o = np.zeros((BATCH, heads, k.shape[-1], v.shape[-1])), []
    for t in range(LENGTH):
        state = decay[:, t, :, None, None] * state
        for j in range(n):
            answer = np.einsum("bhkv,bhk->bhv", state, k[:, t, j])
            error = beta[:, t, j] * (v[:, t, j] - answer)
            state = state + k[:, t, j, :, :, None] * error[:, :, None]
        o.append(np.einsum("bhkv,bhk->bhv", state, q[:, t]))
    assert_gives(case, out(mixer, params, x, np.stack(o, axis=1)))
