"""Comba: its equations."""

import numpy as np

from tests.support import references
from tests.support.matrix_state import out, projections
from tests.support.mixer_cases import assert_gives, dense, in_float64, sigmoid, softplus


def unit(x):
    return x / np.sqrt((x**2).sum(axis=-1, keepdims=True) + 1e-6)


# Catches a state that is read after its decay, a query that is corrected after it was normalised,
# and a gate that is a silu.
def test_against_its_twin():
    mixer, params, x = in_float64("comba")
    q, k, v = projections(mixer, params, x)
    p = sigmoid(params["decay_logit"])[:, None] * k
    q, k = unit(q - params["D"][:, None] * p) / np.sqrt(k.shape[-1]), unit(k)
    beta = sigmoid(dense(x, params["b_proj"]))[..., None]
    steps = softplus(dense(x, params["a_proj"]) + params["dt_bias"])
    log_decay = -(np.exp(params["A_log"]) * steps)[..., None]
    heads = references.dplr(q, k, beta * v, log_decay, beta * unit(p))
    assert_gives("comba", out(mixer, params, x, heads, sigmoid(dense(x, params["g_proj"]))))
