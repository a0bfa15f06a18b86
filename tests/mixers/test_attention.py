"""Attention: its equation, and shapes that cannot be."""

import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.mixers import Attention, GatedAttention
from tests.support import references
from tests.support.mixer_cases import BATCH, LENGTH, WIDTH, assert_gives, dense, in_float64


# Catches heads that are interleaved instead of contiguous, and a wrong scale of the scores.
def test_two_heads_against_their_twin():
    mixer, params, x = in_float64("attention_2_heads")
    q, k, v = (
        dense(x, params[f"{name}_proj"]).reshape(BATCH, LENGTH, mixer.heads, -1) for name in "qkv"
    )
    heads = references.softmax_attention(q, k, v).reshape(BATCH, LENGTH, WIDTH)
    assert_gives("attention_2_heads", dense(heads, params["out_proj"]))


def turned(x):
    """Pairs of channels, one of each half, turned by their position times 10000^(-i / pairs)."""
    pairs = x.shape[-1] // 2
    angle = np.arange(LENGTH)[:, None, None] * 10_000.0 ** (-np.arange(pairs) / pairs)
    both = (x[..., :pairs] + 1j * x[..., pairs:]) * np.exp(1j * angle)
    return np.concatenate([both.real, both.imag], axis=-1)


# Catches keys that are shared by the wrong heads, positions that only queries have, slopes of
# ALiBi that are added or belong to another head, and a window that is a token too long.
@pytest.mark.parametrize("case", ["attention_shared_rotary", "attention_alibi", "window"])
def test_encodings_and_windows(case):
    mixer, params, x = in_float64(case)
    q, k, v = (
        dense(x, params[f"{name}_proj"]).reshape(BATCH, LENGTH, -1, WIDTH // mixer.heads)
        for name in "qkv"
    )
    if mixer.encoding == "rotary":
        q, k = turned(q), turned(k)
    heads = np.zeros(q.shape)
    for head in range(mixer.heads):
        shared = head * k.shape[2] // mixer.heads
        for t in range(LENGTH):
            first = max(0, t + 1 - mixer.window) if mixer.window else 0
            back = t - np.arange(first, t + 1)
            scores = np.einsum("bd,bsd->bs", q[:, t, head], k[:, first : t + 1, shared])
            scores /= np.sqrt(q.shape[-1])
            if mixer.encoding == "alibi":
                scores -= back / 2 ** (8 * (head + 1) / mixer.heads)
            weights = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
            heads[:, t, head] = np.einsum("bs,bsd->bd", weights, v[:, first : t + 1, shared])
    assert_gives(case, dense(heads.reshape(BATCH, LENGTH, WIDTH), params["out_proj"]))


# Catches a reshape that fails with a message about arrays where the config is at fault.
@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Attention(16, heads=3), r"16.*\b3 heads"),
        (
            lambda: Attention(16, heads=4, key_heads=3),
            r"key_heads is 3: 4 heads .* by 1 or 2 or 4$",
        ),
        (
            lambda: GatedAttention(32, heads=16),
            r"heads is 16: of the 2 channels.*turn 0.25.*take fewer heads$",
        ),
        (
            lambda: GatedAttention(4),
            r"rotary_share is 0.25: of the 4 channels.*a greater width or rotary_share$",
        ),
        (lambda: GatedAttention(4, heads=4), r"rotary_share is 0.25: .*take a greater width$"),
    ],
)
def test_shapes_that_do_not_divide(build, message):
    with pytest.raises(UserError, match=message):
        build()
