"""The time mixing of RWKV-7: its equations, and the values that layer 0 hands on."""

import jax
import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.interventions import capture, interchange, run
from mecheval_jax.interventions.capture import observe_block
from mecheval_jax.models.language_model import LanguageModel, ModelConfig
from tests.support import planted, references
from tests.support.mixer_cases import BATCH, WIDTH, assert_gives, dense, in_float64, sigmoid

MODEL = {"layers": 2, "width": 16, "vocabulary_size": 19, "max_length": 16}


# Catches a state that is read before its token, a key that is modified before its direction is
# erased, a bonus of the raw key, and a norm over all heads.
def test_against_its_twin():
    mixer, params, x = in_float64("rwkv7")
    previous = np.concatenate([np.zeros((BATCH, 1, WIDTH)), x[:, :-1]], axis=1)
    mixed = {c: x + params[f"x_{c}"] * (previous - x) for c in "rwkvag"}
    r, k, v = (dense(mixed[c], params[f"{c}_proj"]) for c in "rkv")
    low = lambda c, f=lambda h: h: f(mixed[c] @ params[f"{c}1"]) @ params[f"{c}2"]
    log_decay = -np.exp(-0.5) * sigmoid(params["w0"] + low("w", np.tanh))
    alpha, gate = sigmoid(params["a0"] + low("a")), low("g", sigmoid)
    by_head = lambda h: h.reshape(*h.shape[:2], mixer.heads, -1)
    kappa = by_head(k * params["k_k"])
    kappa = kappa / np.linalg.norm(kappa, axis=-1, keepdims=True)
    k = k * (1 + (alpha - 1) * params["k_a"])
    r, k, v, alpha, log_decay = (by_head(h) for h in (r, k, v, alpha, log_decay))
    o = references.dplr(r, k, v, log_decay, kappa, -alpha * kappa)
    o = (o - o.mean(-1, keepdims=True)) / np.sqrt(o.var(-1, keepdims=True) + 64e-5)
    o = o.reshape(x.shape) * params["ln_scale"] + params["ln_bias"]
    o = o + ((r * k * params["r_k"]).sum(-1, keepdims=True) * v).reshape(x.shape)
    assert_gives("rwkv7", dense(o * gate, params["o_proj"]))


@pytest.fixture(scope="module")
def model():
    config, params, _ = planted.lively("rwkv7", layers=2, feed_forward="channel_mix")
    tokens = jax.random.randint(jax.random.key(1), (2, 9), 0, 19)
    return LanguageModel(config), params, tokens


# Catches values that later layers do not see, or see only where they are read, and a value of
# layer 0 that changes them although it was replaced in layer 0 alone.
def test_later_layers_mix_in_the_values_of_the_first(model):
    module, params, tokens = model
    look = jax.jit(lambda tokens: capture(module, params, tokens))
    own, other = look(tokens), look((tokens + 1) % 19)
    np.testing.assert_array_equal(own["block_0/mixer/v_first"], own["block_1/mixer/v_first"])
    both = jax.jit(lambda patch: capture(module, params, tokens, interventions=patch))
    handed = both(interchange(other, ["block_0/mixer/v_first"]))
    path = "block_1/mixer/v_first"
    assert np.abs(handed[path] - own[path]).max() > 0.1
    alone = both(interchange(other, ["block_0/mixer/v"]))
    unmoved = (alone[path], own[path])
    np.testing.assert_allclose(*unmoved, atol=1e-5)
    assert np.abs(alone["block_1/mixer/v"] - own["block_1/mixer/v"]).max() > 0.01


# Catches a recurrent form that hands nothing on, or the value of another token, and a channel mix
# that forgets the token before; and outputs at one position without what they read.
def test_the_recurrent_form_of_the_model(model):
    module, params, tokens = model
    expected = jax.jit(lambda: run(module, params, tokens))()
    variables = {"params": params}
    state = module.apply(variables, 2, 9, method="initial_state")
    step = jax.jit(lambda state, t: module.apply(variables, state, t, method="step"))
    scale = np.abs(expected).max()
    for t in range(9):
        state, logits = step(state, tokens[:, t])
        np.testing.assert_allclose(logits, expected[:, t], atol=3e-5 * scale)
    last = jax.numpy.array([[8], [4]])
    read = jax.jit(lambda: run(module, params, tokens, positions=last, skip_unread=True))()
    np.testing.assert_allclose(read[1, 0], expected[1, 4], atol=3e-5 * scale)


# Catches a block alone that takes its own values for those of the first layer.
def test_a_block_alone_needs_the_values_of_the_first(model):
    module, params, tokens = model
    seen = jax.jit(lambda: capture(module, params, tokens))()
    given = lambda path: {path: {"value": seen[path]}}
    look = jax.jit(
        lambda patch: observe_block(module, params, 1, seen["block_1/block_input"], patch)
    )
    with pytest.raises(UserError, match=r"layer 0: give them at block_1/mixer/v_first"):
        look({})
    found = look(given("block_1/mixer/v_first"))["block_1/block_output"]
    np.testing.assert_allclose(found, seen["block_1/block_output"], atol=1e-4)


# Catches a hybrid in which RWKV-7 would mix in the values of another mixer, or of none.
def test_a_hybrid_starts_with_it():
    with pytest.raises(
        UserError, match="layer 1 mixes in the values of layer 0, of type Attention"
    ):
        ModelConfig("attention,rwkv7", **MODEL)
    ModelConfig("rwkv7,attention", **MODEL)


# Catches a decay that someone has replaced by one below the bound, whose products overflow then.
def test_a_replaced_decay_may_be_stronger(model):
    module, params, tokens = model
    path = "block_0/mixer/decay"
    clean = jax.jit(lambda: capture(module, params, tokens))()
    none = interchange({path: jax.numpy.full_like(clean[path], 1e-30)}, [path])
    ours = jax.jit(lambda: capture(module, params, tokens, interventions=none))()
    state, r, o = (ours[f"block_0/mixer/{name}"] for name in ("state", "r", "head_output"))
    expected = np.einsum("blhkv,blhk->blhv", state, r)
    np.testing.assert_allclose(o, expected, atol=1e-5 * np.abs(expected).max())
