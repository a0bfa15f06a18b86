"""Log-linear Mamba-2: its equation, and shapes and lengths that cannot be."""

import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.mixers import LogLinearMamba2
from tests.support import references
from tests.support.mixer_cases import (
    BATCH,
    LENGTH,
    WIDTH,
    assert_gives,
    dense,
    in_float64,
    rms_norm,
    silu,
    softplus,
)


# Catches a convolution with a bias, weights without their softplus, and a norm before the gate.
def test_against_its_twin():
    mixer, params, x = in_float64("log_linear_mamba2")
    inner, state, heads = 2 * WIDTH, 4, 2
    sizes = np.cumsum([inner, inner + 2 * state, heads])
    z, mixed, dt, levels = np.split(dense(x, params["in_proj"]), sizes, axis=-1)
    mixed = silu(references.short_convolution(mixed, params["conv"]["weight"]))
    u, B, C = np.split(mixed, [inner, inner + state], axis=-1)
    dt = softplus(dt + params["dt_bias"])
    weights = softplus(params["L"] * levels.reshape(BATCH, LENGTH, heads, -1))
    u = u.reshape(BATCH, LENGTH, heads, -1)
    k, q = (np.repeat(h[:, :, None], heads, axis=2) for h in (B, C))
    y = references.log_linear_attention(
        q, k, dt[..., None] * u, -np.exp(params["A_log"]) * dt, weights
    )
    y = (y + params["D"][:, None] * u).reshape(BATCH, LENGTH, inner) * silu(z)
    y = rms_norm(y) * params["norm"]["scale"]
    assert (mixer.heads, mixer.levels) == (heads, 15)
    assert_gives("log_linear_mamba2", dense(y, params["out_proj"]))


# Catches a document whose first tokens are forgotten in silence, and a reshape that fails.
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"head_dim": 24}, r"32 inner channels.*heads of 24"),
        ({"max_length": 9, "levels": 4}, r"4 levels reach 8 tokens.*9"),
    ],
)
def test_shapes_that_do_not_divide(options, message):
    with pytest.raises(UserError, match=message):
        LogLinearMamba2(16, **({"head_dim": 16, "max_length": 8} | options))
