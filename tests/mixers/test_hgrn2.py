"""HGRN2: its equation, and the lower bounds that all layers share."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.interventions import capture
from mecheval_jax.mixers import HGRN2
from mecheval_jax.mixers.hgrn2 import LowerBounds
from mecheval_jax.models.language_model import LanguageModel
from tests.support import planted, references
from tests.support.matrix_state import by_head
from tests.support.mixer_cases import (
    AT,
    BATCH,
    LENGTH,
    assert_gives,
    at,
    dense,
    example,
    in_float64,
    rms_norm,
    sigmoid,
    silu,
)


# Catches keys that are the gates themselves, a bound that is added to the gate, and a norm of each
# head where it is over all channels.
def test_against_its_twin():
    mixer, params, x = in_float64("hgrn2")
    logits = params["lower_bounds"]["logits"]
    bound = (np.exp(logits) / np.exp(logits).sum(axis=0))[1]
    f = bound + (1 - bound) * sigmoid(dense(x, params["k_proj"]))
    q, k, v, log_decay = (
        by_head(h, mixer.heads)
        for h in (silu(dense(x, params["q_proj"])), 1 - f, dense(x, params["v_proj"]), np.log(f))
    )
    o = references.dplr(q / np.sqrt(q.shape[-1]), k, v, log_decay)
    o = rms_norm(o.reshape(BATCH, LENGTH, -1)) * params["o_norm"]["scale"]
    assert_gives("hgrn2", dense(o, params["o_proj"]))


# Catches a forget gate that is replaced in the keys and not in the decays, or the reverse.
def test_a_replaced_gate_is_the_gate_of_both():
    config, params, _ = planted.untrained("hgrn2", layers=1)
    model, tokens = LanguageModel(config), jnp.array([[1, 2, 3, 4]])
    site = "block_0/mixer/k"
    seen = capture(model, params, tokens)
    raw = seen[site] + 1.0
    then = capture(model, params, tokens, interventions={site: {"value": raw}})
    gate = sigmoid(np.asarray(raw))
    np.testing.assert_allclose(then["block_0/mixer/decay"][..., 0], gate, rtol=1e-5)
    v = np.asarray(seen["block_0/mixer/v"])
    written = (1 - gate)[..., None] * v[..., None, :]
    np.testing.assert_allclose(then["block_0/mixer/write"], written, rtol=1e-4, atol=1e-6)


# Catches bounds that start in layer 0, or do not rise.
def test_bounds_of_the_layers():
    bounds = LowerBounds(4, 3)
    params = bounds.init(jax.random.key(0), 1)
    found = [np.asarray(bounds.apply(params, layer)) for layer in range(4)]
    np.testing.assert_allclose(found, np.arange(4)[:, None] / 4 * np.ones((1, 3)), atol=1e-6)


# Catches the logarithm of a sum that rounds to 0: gates that are almost 0 are finite, and so are
# their gradients.
@pytest.mark.parametrize("size", [20.0, 200.0, 1e6, np.inf])
def test_tiny_bounds(size):
    mixer, variables, x = example("hgrn2")
    logits, signs = variables["params"]["lower_bounds"]["logits"], jnp.array([-1.0, 1.0])[:, None]
    raw = jnp.where(jnp.arange(mixer.width) % 3 == 0, -size, 1.0).reshape(mixer.heads, -1)
    raw = jnp.broadcast_to(raw, (BATCH, LENGTH, *raw.shape))
    entries = {"k": {"value": raw, "mask": at(AT, raw)}}

    def read(logits, x):
        params = variables["params"] | {"lower_bounds": {"logits": logits}}
        return mixer.apply({"params": params, "interventions": entries}, x)

    slope = jax.jit(jax.value_and_grad(lambda *given: (read(*given) ** 2).sum(), (0, 1)))
    for sign in (1, -1):  # bounds that are almost 0, and almost 1
        extreme = -sign * min(size, 1e38) * signs * jnp.ones_like(logits)
        chex.assert_tree_all_finite(slope(extreme, x))


# Catches bounds and logarithms that are not of one another.
def test_logarithms_of_the_bounds():
    bounds = LowerBounds(4, 3)
    params = {"params": {"logits": jax.random.normal(jax.random.key(0), (4, 3))}}
    for layer in (1, 2, 3):
        b = bounds.apply(params, layer)
        found = bounds.apply(params, layer, method="logarithms")
        np.testing.assert_allclose(np.exp(found), [b, 1 - b], rtol=1e-5)


# Catches a bound near 1 in half precision, which leaves some percent too little or too much.
def test_what_bounds_leave_in_half_precision():
    bounds, layer = LowerBounds(24, 3), 23
    params = {"params": {"logits": jnp.zeros((24, 3), jnp.bfloat16)}}
    left = np.asarray(1 - bounds.apply(params, layer), np.float32)
    np.testing.assert_allclose(left, 1 / 24, rtol=1e-4)
    mixer, x = HGRN2(4, layer=layer, layers=24), jnp.ones((1, 2, 4), jnp.bfloat16)
    half = lambda key: jax.tree.map(lambda leaf: leaf.astype(x.dtype), mixer.init(key, x))
    assert jax.eval_shape(lambda key: mixer.apply(half(key), x), jax.random.key(0)).dtype == x.dtype


# Catches layers with bounds of their own: one parameter moves the gates of all.
def test_the_bounds_are_shared():
    config, params, _ = planted.untrained("hgrn2", layers=3)
    assert params["lower_bounds"]["logits"].shape == (3, config.width)
    assert all("lower_bounds" not in params[f"block_{i}"]["mixer"] for i in range(3))
    tokens = jnp.array([[1, 2, 3, 4]])
    look = jax.jit(lambda params: capture(LanguageModel(config), params, tokens))
    moved = params | {"lower_bounds": {"logits": params["lower_bounds"]["logits"].at[1].add(2.0)}}
    seen, then = look(params), look(moved)
    at = lambda values, layer: np.asarray(values[f"block_{layer}/mixer/decay"])
    np.testing.assert_array_equal(at(seen, 0), at(then, 0))
    assert (at(then, 1) > at(seen, 1)).all()
    assert (at(then, 2) > at(seen, 2)).any()


# Catches a reshape that fails with a message about arrays where the config is at fault.
def test_shapes_that_do_not_divide():
    with pytest.raises(UserError, match=r"16 channels.*3 heads"):
        HGRN2(16, heads=3)


def test_layers_with_other_keys_are_refused():
    """Catches lower bounds of one layer's width that another layer cannot take."""
    with pytest.raises(UserError, match=r"share the lower bounds.*keys of the same width"):
        planted.shape_of("hgrn2", mixer_options={"key_share": [1.0, 0.5]})
