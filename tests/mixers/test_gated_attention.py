"""Gated attention: its norms, its gate, and the channels that it turns."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.mixers import GatedAttention
from tests.support.mixer_cases import LENGTH, capture, dense, example, in_float64, sigmoid

CASE = "gated_attention"


# Catches a gate after the output projection, and one of another head.
def test_the_gate_stands_before_the_output_projection():
    _, params, _ = in_float64(CASE)
    mixer, variables, x = example(CASE)
    seen = {name: np.asarray(value, np.float64) for name, value in capture(CASE, x).items()}
    heads = seen["head_output"].reshape(seen["gate"].shape) * sigmoid(seen["gate"])
    got, expected = mixer.apply(variables, x), dense(heads, params["out_proj"])
    np.testing.assert_allclose(got, expected, atol=1e-5 * np.abs(expected).max())


# Catches keys without their norm or its offset, and turned channels that are not the first quarter.
def test_a_quarter_of_each_head_is_turned():
    mixer, params, _ = in_float64(CASE)
    _, variables, x = example(CASE)
    seen = capture(CASE, x)
    index = jnp.broadcast_to(jnp.arange(LENGTH), x.shape[:2])
    bound = mixer.bind(variables)
    q, k = (np.asarray(h) for h in bound.prepare(seen["q"], seen["k"], index, index))
    raw = np.asarray(seen["k"], np.float64)
    normal = raw / np.sqrt((raw**2).mean(axis=-1, keepdims=True) + 1e-6)
    normal *= 1 + params["k_norm"]["scale"]
    np.testing.assert_allclose(k[..., 2:], normal[..., 2:], rtol=1e-4, atol=1e-4)
    turned = (normal[..., 0] + 1j * normal[..., 1]) * np.exp(1j * np.arange(LENGTH))[:, None]
    np.testing.assert_allclose(k[..., 0], turned.real, rtol=1e-4, atol=1e-4)
    assert q.shape[-2:] == (mixer.heads, 8)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("out_bias", [False, True])
def test_biases_are_told_apart(bias, out_bias):
    """Catches an output projection that has a bias wherever queries, keys and values have one."""
    mixer, x = GatedAttention(16, bias=bias, out_bias=out_bias), jnp.zeros((1, 2, 16))
    params = jax.eval_shape(lambda: mixer.init(jax.random.key(0), x))["params"]
    assert ("bias" in params["q_proj"]) == bias
    assert ("bias" in params["out_proj"]) == out_bias
