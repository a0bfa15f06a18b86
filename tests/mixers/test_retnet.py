"""Retention: its equation."""

import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.mixers import RetNet
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


# Catches heads of one channel, of which rotary positions turn nothing.
def test_rotary_positions_turn_pairs():
    with pytest.raises(UserError, match=r"heads is 16: of 16 channels.*at most 8 heads"):
        RetNet(16, heads=16)
    for width, share in ((1, 1.0), (16, 0.01)):  # no number of heads would do
        message = rf"key_share is {share:g}: of width {width} .* a greater width or key_share$"
        with pytest.raises(UserError, match=message):
            RetNet(width, key_share=share)
