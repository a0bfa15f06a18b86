"""The time mixing of RWKV-4: its equation."""

import numpy as np

from tests.support import references
from tests.support.mixer_cases import BATCH, WIDTH, assert_gives, dense, in_float64, sigmoid


# Catches a mixture that is of the next token, one of k in the place of r, and a decay without its
# exponential.
def test_against_its_twin():
    _, params, x = in_float64("rwkv4")
    previous = np.concatenate([np.zeros((BATCH, 1, WIDTH)), x[:, :-1]], axis=1)
    mixed = lambda share: share * x + (1 - share) * previous
    k, v, r = (dense(mixed(params[f"mix_{name}"]), params[f"{name}_proj"]) for name in "kvr")
    average = references.wkv(k, v, -np.exp(params["time_decay"]), params["time_first"])
    assert_gives("rwkv4", dense(sigmoid(r) * average, params["out_proj"]))
