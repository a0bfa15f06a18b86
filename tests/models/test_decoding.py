"""Generation through the recurrent form: the tokens that whole forward passes would give."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.models.decoding import greedy, state_bytes
from mecheval_jax.models.language_model import LanguageModel, ModelConfig, initialize
from tests.support import planted

SHAPE = {"width": 16, "vocabulary_size": 20, "max_length": 16}


# Catches a token read twice, a position that does not advance, a state of the wrong layer, a
# residual convolution that is forgotten, and logits of the prompt's last token but one.
@pytest.mark.parametrize(
    ("mixer", "options"),
    [
        ("attention", {"positions": "learned"}),
        ("attention,mamba,h3", {"positions": "rotary", "canon": 4, "layers": 3}),
        ("sliding_window_attention,taylor_attention", {"mixer_options": {"window": 3}}),
        ("gated_delta_net,base_conv", {"feed_forward": "glu", "tied": False}),
    ],
)
def test_greedy_is_what_whole_passes_give(mixer, options):
    config = ModelConfig(mixer, **({"layers": 2} | SHAPE | options))
    model, params = LanguageModel(config), planted.lively_parameters(config, seed=3)
    prompt = jax.random.randint(jax.random.key(3), (3, 4), 0, SHAPE["vocabulary_size"])
    generated = jax.jit(lambda params, prompt: greedy(model, params, prompt, 5))(params, prompt)
    whole = jax.jit(lambda params, tokens: model.apply({"params": params}, tokens))
    tokens = np.zeros((3, 9), np.int32)
    tokens[:, :4] = prompt
    for t in range(4, 9):
        tokens[:, t] = np.asarray(whole(params, tokens))[:, t - 1].argmax(axis=-1)
    np.testing.assert_array_equal(generated, tokens[:, 4:])
    assert len(np.unique(tokens[:, 4:])) > 1


# Catches a limit that is off by one, and a cache that wraps round in silence.
@pytest.mark.parametrize("mixer", ["attention", "hyena"])
def test_lengths(mixer):
    config = ModelConfig(mixer, layers=1, **SHAPE)
    model, params = LanguageModel(config), planted.lively_parameters(config)
    prompt = jnp.ones((1, 10), jnp.int32)
    assert greedy(model, params, prompt, 7).shape == (1, 7)
    with pytest.raises(UserError, match=r"8 tokens after a prompt of 10.*at most 7"):
        greedy(model, params, prompt, 8)
    with pytest.raises(UserError, match="a prompt of 20 tokens: at most 16, the model's"):
        greedy(model, params, jnp.ones((1, 20), jnp.int32), 1)
    with pytest.raises(UserError, match="count is 0: it takes a whole number, at least 1"):
        greedy(model, params, prompt, 0)
    with pytest.raises(UserError, match="max_length is -1: it takes a whole number, at least 1"):
        state_bytes(config, -1)
    with pytest.raises(UserError, match="empty"):
        greedy(model, params, prompt[:, :0], 3)


# Catches a state that is born in single precision where the model computes in double.
def test_documents_are_prompts():
    """Catches a batch that is accepted and then read as an array, and ids that wrap round."""
    config = ModelConfig("attention", layers=1, positions="learned", **SHAPE)
    model, params = LanguageModel(config), planted.lively_parameters(config)
    batch = planted.documents(planted.TASK, 2)
    tokens = batch.tokens[:, :6] % SHAPE["vocabulary_size"]
    generated = greedy(model, params, batch.replace(tokens=tokens), 3)
    np.testing.assert_array_equal(generated, greedy(model, params, tokens.astype(jnp.int8), 3))
    assert generated.dtype == jnp.int32


def test_double_precision():
    config = ModelConfig("h3,s4d,rwkv4", layers=3, feed_forward="none", **SHAPE)
    with jax.enable_x64(True):
        double = lambda p: jax.ShapeDtypeStruct(p.shape, jnp.float64)
        params = jax.tree.map(double, jax.eval_shape(lambda: initialize(config, jax.random.key(0))))
        tokens = jnp.ones((1, 2), jnp.int32)
        decode = lambda params: greedy(LanguageModel(config), params, tokens, 3)
        assert jax.eval_shape(decode, params).shape == (1, 3)


# Catches bytes that are computed from a formula: these are counted by hand, 4 bytes a number.
@pytest.mark.parametrize(
    ("mixer", "options", "count"),
    [
        ("attention", {}, lambda length: 2 * length * 16 + 1),  # keys, values, the position
        ("sliding_window_attention", {"window": 4}, lambda length: 2 * 4 * 16 + 1),
        ("mamba", {"d_state": 4, "d_conv": 4}, lambda length: 32 * 4 + 3 * 32),
        ("mamba", {"d_state": 4, "d_conv": 0}, lambda length: 32 * 4),
        ("base_conv", {"kernel": 3}, lambda length: 2 * 16),
        ("hyena", {}, lambda length: length * 16 + 1 + 2 * 48),
        ("retnet", {}, lambda length: 16 * 32 + 1),
        ("s4d", {"d_state": 8}, lambda length: 16 * 4 * 2),  # complex
        ("lstm", {}, lambda length: 2 * 16),
    ],
)
def test_bytes_of_the_state(mixer, options, count):
    config = ModelConfig(mixer, layers=1, mixer_options=options, **SHAPE)
    for length in (8, 16):
        of_model = 1  # its position
        assert state_bytes(config, length) == 4 * (count(length) + of_model)
    with pytest.raises(UserError, match=r"17 tokens.*16"):
        state_bytes(config, 17)
