"""Effective attention: the matrices of every mixer give back what the mixer read."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.representations import mixing_matrices
from mecheval_jax.evaluation.representations.effective_attention import (
    effective_attention,
    reduce_heads,
)
from mecheval_jax.interventions.capture import capture
from mecheval_jax.models.language_model import LanguageModel
from tests.support import planted

DOCUMENTS, LENGTH = 2, 9
LAYERS = {
    "attention": ("attention", {"heads": 2, "key_heads": 1}),
    "taylor_attention": ("taylor_attention", {"heads": 2, "feature_width": 4}),
    "gla": ("gla", {"heads": 2}),
    "retnet": ("retnet", {"heads": 2}),
    "delta_net": ("delta_net", {"heads": 2}),
    "gated_delta_net": ("gated_delta_net", {"heads": 2}),
    "mamba": ("mamba", {"d_state": 4}),
    "mamba2": ("mamba2", {"d_state": 4, "head_dim": 8, "groups": 2}),
    "rwkv4": ("rwkv4", {}),
    "s4d": ("s4d", {"d_state": 4}),
    "h3": ("h3", {"d_state": 4, "head_dim": 4}),
    "hyena": ("hyena", {"order": 8, "skip": True}),
    "base_conv_implicit": ("base_conv", {"kernel": "implicit"}),
    "base_conv_activation": ("base_conv", {"kernel": 3, "activation": True}),
}
"""The mixer of each layer and its options."""

MIXERS = tuple(mixer for mixer, _ in LAYERS.values())


def options():
    """Options as the model takes them: for each a list with an entry a layer."""
    blank = {"heads": 1, "key_heads": 0, "kernel": 0, "skip": False}
    blank |= {"feature_width": 4, "d_state": 4, "head_dim": 8, "groups": 1, "order": 8}
    blank |= {"activation": False}
    kernels = {"delta_net": 4, "gated_delta_net": 4, "hyena": 3}

    def value(name, mixer, given):
        default = kernels.get(mixer, 0) if name == "kernel" else blank[name]
        return given.get(name, default)

    return {name: [value(name, *layer) for layer in LAYERS.values()] for name in blank}


@functools.cache
def model():
    """All mixers in one model, a layer each: one program to compile."""
    config, params, _ = planted.lively(
        ",".join(MIXERS),
        layers=len(MIXERS),
        feed_forward="none",
        mixer_options=options(),
    )
    tokens = jax.random.randint(jax.random.key(1), (DOCUMENTS, LENGTH), 0, 19)
    return LanguageModel(config), params, tokens


@functools.cache
def measured():
    """Matrices and activations of every layer."""
    module, params, tokens = model()

    @jax.jit
    def everything(params):
        activations = capture(module, params, tokens)
        layers = range(len(MIXERS))
        found = [effective_attention(module.config, params, activations, i) for i in layers]
        return found, [i.read() for i in found], activations

    return everything(params)


def read_by(layer, activations):
    """What the mixer itself read, as its sites have it."""
    mixer, block = MIXERS[layer], f"block_{layer}/"
    at = {p.removeprefix(block): np.asarray(x) for p, x in activations.items() if block in p}
    sites = {path.removeprefix("mixer/"): value for path, value in at.items()}
    params = jax.tree.map(np.asarray, model()[1][f"block_{layer}"]["mixer"])
    if mixer == "hyena":
        x1, x2, v = np.split(sites["conv_output"], 3, axis=-1)
        return x2 * (sites["filter_output"] + params["D"] * x1 * v)
    if mixer == "s4d":
        return sites["filter_output"] + params["D"] * at["mixer_input"]
    if mixer == "base_conv":
        return at["mixer_output"]
    if mixer == "h3":
        return np.swapaxes(sites["head_output"], 2, 3)
    names = {"mamba": "ssm_output", "mamba2": "ssm_output", "rwkv4": "average"}
    return sites[names.get(mixer, "head_output")]


# Catches, in any mixer, a decay that starts a token early or late, a missing scale, skip or bias,
# heads and channels in another order, and a matrix that is not causal.
@pytest.mark.parametrize("layer", range(len(LAYERS)), ids=list(LAYERS))
def test_the_matrices_give_what_the_mixer_read(layer):
    found, reads, activations = measured()
    expected = read_by(layer, activations).reshape(DOCUMENTS, LENGTH, -1)
    scale = np.abs(expected).max()
    got = reads[layer].reshape(DOCUMENTS, LENGTH, -1)
    np.testing.assert_allclose(got, expected, atol=1e-4 * scale)
    matrices = np.asarray(found[layer].matrices)
    assert not np.triu(matrices, 1).any()
    below = np.abs(np.tril(matrices, -1)).max()
    assert below > 1e-3 * np.abs(matrices).max(), "nothing is read of other tokens"


# Catches an image that adds channels up, where opposite signs would cancel, or mixes up heads.
def test_images():
    found, _, _ = measured()
    attention, mamba = found[0], found[MIXERS.index("mamba")]
    pattern = np.asarray(reduce_heads(attention))
    np.testing.assert_array_equal(pattern, attention.matrices)
    np.testing.assert_allclose(pattern.sum(axis=-1), 1, atol=1e-5)
    seen = np.asarray(reduce_heads(mamba))
    assert seen.shape == (DOCUMENTS, 1, LENGTH, LENGTH)
    channels = np.asarray(mamba.matrices)[1, :, 5, 2]
    np.testing.assert_allclose(seen[1, 0, 5, 2], np.sqrt(np.mean(channels**2)), rtol=1e-5)


# Catches a state transition that is applied in another order, or to the token's own write.
@pytest.mark.parametrize("delta", [False, True])
def test_transported_writes_against_their_twin(delta):
    draw = np.random.default_rng(0)
    write, query, key = draw.normal(size=(3, 2, 5, 2, 3))
    decay = draw.uniform(0.3, 1, (2, 5, 2, 3))
    expected = np.zeros((2, 2, 5, 5))
    for b, h, s in np.ndindex(2, 2, 5):
        state = write[b, s, h]
        for t in range(s, 5):
            if t > s:
                move = np.eye(3) - delta * np.outer(write[b, t, h], key[b, t, h])
                state = move @ np.diag(decay[b, t, h]) @ state
            expected[b, h, t, s] = query[b, t, h] @ state
    arrays = [jnp.asarray(a, jnp.float32) for a in (write, decay, query, key)]
    got = mixing_matrices.unrolled_recurrence(*arrays[:3], arrays[3] if delta else None)
    np.testing.assert_allclose(got, expected, atol=1e-5)


# Catches a made-up matrix where there can be none, and an index that wraps round.
def test_mixers_and_layers_without_matrices():
    config, params, _ = planted.untrained("lstm", layers=1)
    with pytest.raises(UserError, match=r"LSTM has no effective attention.*Mamba2"):
        effective_attention(config, params, {}, 0)
    with pytest.raises(UserError, match="layer -1: the model has layers 0 to 0"):
        effective_attention(config, params, {}, -1)
