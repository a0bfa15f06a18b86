"""The feed-forward parts against their equations in NumPy."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.models.feed_forward import FEED_FORWARD, KINDS, FeedForwardConfig
from tests.support import golden_files
from tests.support.golden_files import relative_error

ERF = np.vectorize(math.erf)
X = jnp.asarray(np.random.default_rng(0).normal(size=(2, 5, 4)), jnp.float32)
BY_HAND = {
    "gelu": lambda x: x * (1 + ERF(x / np.sqrt(2))) / 2,
    "gelu_tanh": lambda x: x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))) / 2,
    "silu": lambda x: x / (1 + np.exp(-x)),
    "relu": lambda x: np.maximum(x, 0),
}


def dense(params, name, x):
    return np.asarray(x) @ np.asarray(params[name]["kernel"]) + np.asarray(params[name]["bias"])


def parameters(module):
    """Parameters with biases that are not zero."""
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), X))["params"]
    draw = np.random.default_rng(1)
    return jax.tree.map(lambda s: jnp.asarray(draw.normal(size=s.shape), s.dtype), shapes)


# Catches a gate and a value exchanged, an approximated GELU, and a bias that is left out.
@pytest.mark.parametrize("activation", BY_HAND)
def test_equations(activation):
    config, f = FeedForwardConfig("mlp", 4, 2, activation=activation), BY_HAND[activation]
    mlp = FEED_FORWARD["mlp"](config)
    params = parameters(mlp)
    expected = dense(params, "fc2", f(dense(params, "fc1", X)))
    np.testing.assert_allclose(mlp.apply({"params": params}, X), expected, rtol=1e-4, atol=1e-4)
    glu = FEED_FORWARD["glu"](dataclasses.replace(config, kind="glu"))
    params = parameters(glu)
    expected = dense(params, "fc3", dense(params, "fc1", X) * f(dense(params, "fc2", X)))
    np.testing.assert_allclose(glu.apply({"params": params}, X), expected, rtol=1e-4, atol=1e-4)


# Catches a hidden width that is ignored, and biases in a model that has none.
@pytest.mark.parametrize(("hidden", "width"), [(0, 16), (6, 6)])
def test_shapes(hidden, width):
    params = parameters(FEED_FORWARD["glu"](FeedForwardConfig("glu", 4, 2, hidden, bias=False)))
    shapes = {name: {leaf: x.shape for leaf, x in layer.items()} for name, layer in params.items()}
    into, out = {"kernel": (4, width)}, {"kernel": (width, 4)}
    assert shapes == {"fc1": into, "fc2": into, "fc3": out}


# Catches a kind without a module, and an identity that computes.
def test_kinds():
    assert set(FEED_FORWARD) == set(KINDS) - {"none"}
    identity = FEED_FORWARD["identity"](FeedForwardConfig("identity", 4, 2))
    np.testing.assert_array_equal(identity.apply({}, X), X)


# Catches a channel mix with another mixture, activation or layout than RWKV-7's own.
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-10)])
def test_golden_channel_mix(dtype, tolerance):
    state, arrays = golden_files.load("mixer__rwkv7_channel_mix_d16")
    mix = FEED_FORWARD["channel_mix"](FeedForwardConfig("channel_mix", 16, 2, layer=1))
    with jax.enable_x64(dtype == "float64"):
        cast = lambda array: jnp.asarray(array, dtype)
        kernels = {
            ours: {"kernel": cast(state[f"{theirs}.weight"].T)}
            for ours, theirs in (("fc1", "key"), ("fc2", "value"))
        }
        params = {"params": {"x_k": cast(state["x_k"][0, 0]), **kernels}}

        def output(x):
            previous = jnp.pad(x, ((0, 0), (1, 0), (0, 0)))[:, :-1]
            return mix.apply(params, mix.apply(params, x, previous, method="mixed"))

        y, pull_back = jax.vjp(output, cast(arrays["x_L16"]))
        (gradient,) = pull_back(2 * y)  # of the sum of squares
    assert relative_error(y, arrays["y64_L16"]) < tolerance
    assert relative_error(gradient, arrays["gx64_L16"]) < tolerance
