"""DeltaNet and Gated DeltaNet: their equations."""

import numpy as np
import pytest

from tests.support import references
from tests.support.matrix_state import out, projections
from tests.support.mixer_cases import (
    BATCH,
    LENGTH,
    assert_gives,
    dense,
    in_float64,
    sigmoid,
    softplus,
)


# Catches keys that are not of length 1, queries without their scale, a strength that is not
# squashed, and a decay where there is none.
@pytest.mark.parametrize("case", ["delta_net", "delta_net_no_conv", "gated_delta_net"])
def test_against_their_twin(case):
    mixer, params, x = in_float64(case)
    q, k, v = projections(mixer, params, x)
    q, k = (h / np.sqrt((h**2).sum(axis=-1, keepdims=True) + 1e-6) for h in (q, k))
    beta, log_decay = sigmoid(dense(x, params["b_proj"])), np.zeros((BATCH, LENGTH, mixer.heads))
    if "A_log" in params:
        steps = softplus(dense(x, params["a_proj"]) + params["dt_bias"])
        log_decay = -np.exp(params["A_log"]) * steps
    heads = references.delta_rule(q / np.sqrt(q.shape[-1]), k, v, beta, log_decay[..., None])
    assert_gives(case, out(mixer, params, x, heads))
