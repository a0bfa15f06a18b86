"""Gated linear attention: its equation."""

import numpy as np

from tests.support import references
from tests.support.matrix_state import by_head, out, projections
from tests.support.mixer_cases import assert_gives, dense, in_float64, sigmoid


# Catches decays that are mixed up between heads, without their root, or one for a whole head.
def test_against_its_twin():
    mixer, params, x = in_float64("gla")
    q, k, v = projections(mixer, params, x)
    decays = sigmoid(dense(dense(x, params["decay_down"]), params["decay_up"])) ** (1 / 16)
    log_decay = by_head(np.log(decays), mixer.heads)
    heads = references.dplr(q / np.sqrt(q.shape[-1]), k, v, log_decay)
    assert_gives("gla", out(mixer, params, x, heads))
