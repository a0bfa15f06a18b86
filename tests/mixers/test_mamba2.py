"""Mamba-2: its equation, and shapes that cannot be."""

import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.mixers import Mamba2
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


# Catches heads of another group's B and C, a decay without its step, a norm over all channels
# where it is over each group, and a gate that comes after it.
def test_against_its_twin():
    mixer, params, x = in_float64("mamba2")
    inner, state, heads, groups = 2 * WIDTH, 4, 4, 2
    joint = dense(x, params["in_proj"])
    z, mixed, dt = np.split(joint, [inner, 2 * inner + 2 * groups * state], axis=-1)
    mixed = references.short_convolution(mixed, params["conv"]["weight"], params["conv"]["bias"])
    u, B, C = np.split(silu(mixed), [inner, inner + groups * state], axis=-1)
    dt = softplus(dt + params["dt_bias"])
    u = u.reshape(BATCH, LENGTH, heads, -1)
    k, q = (h.reshape(BATCH, LENGTH, groups, state)[:, :, [0, 0, 1, 1]] for h in (B, C))
    log_decay = (-np.exp(params["A_log"]) * dt)[..., None]
    y = references.dplr(q, k, dt[..., None] * u, log_decay)
    y = (y + params["D"][:, None] * u).reshape(BATCH, LENGTH, inner) * silu(z)
    y = rms_norm(y.reshape(BATCH, LENGTH, groups, -1)).reshape(y.shape) * params["norm_scale"]
    assert (mixer.heads, mixer.groups, mixer.d_state) == (heads, groups, state)
    assert_gives("mamba2", dense(y, params["out_proj"]))


# Catches a reshape that fails with a message about arrays where the config is at fault.
@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: Mamba2(16, head_dim=24),
            r"head_dim is 24: 32 inner.*heads of 24.* 16 or 32$",
        ),
        (lambda: Mamba2(16, head_dim=8, groups=3), r"groups is 3: the 4 heads.*into 3 groups"),
    ],
)
def test_shapes_that_do_not_divide(build, message):
    with pytest.raises(UserError, match=message):
        build()
