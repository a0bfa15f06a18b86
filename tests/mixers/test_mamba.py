"""Mamba: its equation."""

import numpy as np

from tests.support import references
from tests.support.mixer_cases import assert_gives, dense, in_float64, silu, softplus


# Catches halves that are exchanged, a step without its bias or softplus, B in the place of C, and
# a skip that is forgotten.
def test_against_its_twin():
    mixer, params, x = in_float64("mamba")
    u, z = np.split(dense(x, params["in_proj"]), 2, axis=-1)
    u = silu(references.short_convolution(u, params["conv"]["weight"], params["conv"]["bias"]))
    ends = [mixer.rank, mixer.rank + mixer.d_state]
    dt, B, C = np.split(dense(u, params["x_proj"]), ends, axis=-1)
    dt = softplus(dense(dt, params["dt_proj"]))
    y = references.selective_scan(u, dt, -np.exp(params["A_log"]), B, C) + params["D"] * u
    assert_gives("mamba", dense(y * silu(z), params["out_proj"]))
