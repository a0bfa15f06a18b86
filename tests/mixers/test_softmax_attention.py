"""Canon-B, the convolution of queries, keys and values together."""

import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.mixers import MixerContext, build_mixer
from tests.support import observed, planted, planted_canon, references
from tests.support.mixer_cases import capture, example, in_float64


# Catches a convolution without its residual, or of the three parts in another order.
def test_canon_b_stands_between_the_sites():
    case = "attention_canon"
    mixer, params, _ = in_float64(case)
    _, _, x = example(case)
    seen = {name: np.asarray(value) for name, value in capture(case, x).items()}
    u = np.concatenate([seen[f"{name}_input"] for name in "qkv"], axis=-1)
    taps = params["qkv_canon"]
    u = u + references.short_convolution(u, taps["weight"], taps["bias"])
    for name, part in zip("qkv", np.split(u, 3, axis=-1), strict=True):
        flat = seen[name].reshape(part.shape)
        np.testing.assert_allclose(flat, part, atol=1e-5 * np.abs(part).max())
    assert mixer.local_reach() == {"q": 2, "k": 2, "v": 2}


# Catches a Canon-B that no mixer hears of.
def test_canon_b_without_a_softmax():
    with pytest.raises(UserError, match=r"canon_at has B.*'mamba'"):
        build_mixer("mamba", MixerContext(0, 2, 16, 12, canon=4))


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
