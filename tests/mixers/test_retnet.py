"""Retention: its equation."""

import numpy as np

from tests.support import references
from tests.support.matrix_state import out, projections
from tests.support.mixer_cases import BATCH, LENGTH, assert_gives, in_float64


# Catches decays that do not differ by head, and positions of keys that turn the other way.
def test_against_its_twin():
    mixer, params, x = in_float64("retnet")
    q, k, v = projections(mixer, params, x)
    pairs = q.shape[-1] // 2
    angle = np.arange(LENGTH)[:, None, None] * 10_000.0 ** (-np.arange(pairs) / pairs)
    turned = [(h[..., :pairs] + 1j * h[..., pairs:]) * np.exp(1j * angle) for h in (q, k)]
    q, k = (np.concatenate([h.real, h.imag], axis=-1) for h in turned)
    decays = 1 - 2.0 ** (-5 - np.arange(mixer.heads))
    log_decay = np.broadcast_to(np.log(decays)[:, None], (BATCH, LENGTH, mixer.heads, 1))
    heads = references.dplr(q / np.sqrt(q.shape[-1]), k, v, log_decay)
    assert_gives("retnet", out(mixer, params, x, heads))
