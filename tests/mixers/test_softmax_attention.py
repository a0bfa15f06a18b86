"""What the mixers with a softmax over tokens share: Canon-B binds pairs in their keys."""

import jax.numpy as jnp

from tests.support import observed, planted, planted_canon


# Catches a convolution that no key sees: one layer of attention recalls by it, and by it alone.
def test_one_layer_recalls_by_canon_b():
    config, params, task = planted_canon.canon_attention()
    batch = planted.documents(task, 32)
    assert observed.accuracy(config, params, batch) == 1
    taps = params["block_0"]["mixer"]["qkv_canon"]
    taps["weight"] = jnp.zeros_like(taps["weight"])
    assert observed.accuracy(config, params, batch) < 0.5


# Catches a verdict that looks for the pair in other sites than the convolved keys.
def test_the_verdict_on_canon_b():
    verdict = planted.verdict_of(planted_canon.canon_attention())
    assert (verdict.verdict, verdict.layer) == ("convolutional_binding", 0)
