"""PaTH attention: its scores, with a loop of reflections."""

import numpy as np

from tests.support import references
from tests.support.mixer_cases import (
    BATCH,
    LENGTH,
    WIDTH,
    assert_gives,
    dense,
    in_float64,
    sigmoid,
    silu,
)


# Catches a token that reflects its own key, directions that are no units, a strength up to 1 only,
# and heads that share the keys of others.
def test_against_its_twin():
    mixer, params, x = in_float64("path_attention")
    head, shared = WIDTH // mixer.heads, mixer.key_heads
    by_head = lambda h: h.reshape(BATCH, LENGTH, -1, head)
    q, k, v = (by_head(dense(x, params[f"{name}_proj"])) for name in "qkv")
    w = dense(dense(x, params["w_down"]), params["w_up"])
    w = by_head(silu(references.short_convolution(w, params["w_conv"]["weight"])))
    w /= np.sqrt((w**2).sum(axis=-1, keepdims=True) + 1e-6)
    beta = 2 * sigmoid(dense(x, params["b_proj"]))
    k, v, w = (np.repeat(h, mixer.heads // shared, axis=2) for h in (k, v, w))
    scores = references.reflected_products(q, k, w, np.repeat(beta, 2, axis=2)) / np.sqrt(head)
    scores = np.where(np.tri(LENGTH, dtype=bool), scores, -np.inf)
    weights = np.exp(scores) / np.exp(scores).sum(axis=-1, keepdims=True)
    heads = np.einsum("bhts,bshd->bthd", weights, v).reshape(BATCH, LENGTH, WIDTH)
    assert_gives("path_attention", dense(heads, params["out_proj"]))
