"""What a block adds to the residual stream, and in which order."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.models.blocks import REMAT, Block, rematerialized
from mecheval_jax.models.language_model import LanguageModel
from mecheval_jax.sites import is_site
from tests.support import planted
from tests.support.observed import MIXERS, observed_of


@pytest.mark.parametrize("mixer", MIXERS)
def test_the_residual_stream_is_the_sum_of_its_parts(mixer):
    """Catches a site before or after the addition that it should be after or before."""
    config, _, _, _, values = observed_of(mixer)
    np.testing.assert_array_equal(values["block_0/block_input"], values["embedding"])
    np.testing.assert_array_equal(values["block_1/block_input"], values["block_0/block_output"])
    for layer in range(2):
        at = lambda part: values[f"block_{layer}/{part}"]  # noqa: B023
        total = at("block_input") + at("mixer_output")
        if "mlp_output" in config.components(0):
            assert np.abs(at("mlp_output")).max() > 0.1
            total = total + at("mlp_output")
        assert np.abs(at("mixer_output")).max() > 0.1
        np.testing.assert_allclose(at("block_output"), total, rtol=1e-5, atol=1e-5)


def normalized(x, parameters):
    """LayerNorm, or RMSNorm where there is no bias, in float64."""
    x = np.asarray(x, np.float64)
    if "bias" in parameters:
        x = x - x.mean(axis=-1, keepdims=True)
    x = x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-5)
    return x * np.asarray(parameters["scale"])[None, None] + np.asarray(
        parameters.get("bias", np.zeros(1))
    ).reshape(1, 1, -1)


@pytest.mark.parametrize("mixer", MIXERS)
def test_inputs_are_after_the_norm(mixer):
    """Catches mixer_input, mlp_input or final_norm read before their norm."""
    config, params, _, logits, values = observed_of(mixer)
    for layer in range(2):
        block, at = params[f"block_{layer}"], lambda part: values[f"block_{layer}/{part}"]  # noqa: B023
        expected = normalized(at("block_input"), block["mixer_norm"])
        np.testing.assert_allclose(at("mixer_input"), expected, rtol=1e-3, atol=1e-4)
        if "mlp_input" in config.components(0):
            expected = normalized(at("block_input") + at("mixer_output"), block["mlp_norm"])
            np.testing.assert_allclose(at("mlp_input"), expected, rtol=1e-3, atol=1e-4)
    expected = normalized(values["block_1/block_output"], params["output_norm"])
    np.testing.assert_allclose(values["final_norm"], expected, rtol=1e-3, atol=1e-4)
    table = np.asarray(params["token_embedding"]["embedding"])
    np.testing.assert_allclose(logits, values["final_norm"] @ table.T, rtol=1e-4, atol=1e-4)


def block_of(**options):
    """A block of a small model, its parameters, and a residual stream."""
    config, params, _ = planted.lively("attention", layers=1, **options)
    block = Block(config.build_mixer(0), config.block(0))
    residual = np.random.default_rng(1).normal(size=(2, 5, config.width)).astype(np.float32)
    return block, params["block_0"], jnp.asarray(residual)


@pytest.mark.parametrize("parallel", [False, True])
def test_what_the_halves_read(parallel):
    """Catches an MLP that reads the other stream, and a residual convolution that is forgotten."""
    block, params, residual = block_of(parallel=parallel, canon=3)
    call = lambda method: lambda x: nn.apply(method, block)({"params": params}, jnp.asarray(x))
    x = normalized(residual, params["mixer_norm"]).astype(np.float32)
    x = x + call(lambda block, x: block.canon(x))(x)
    middle = residual + call(lambda block, x: block.mixer(x))(x)
    read = normalized(residual if parallel else middle, params["mlp_norm"]).astype(np.float32)
    expected = middle + call(lambda block, x: block.mlp(x))(read)
    got, _ = block.apply({"params": params}, residual)
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-3)


def test_positions_of_a_block():
    """Catches a block that reads its queries elsewhere, or mixes only what it returns."""
    block, params, residual = block_of()
    positions = jnp.array([[4, 1], [0, 2]])
    whole, _ = block.apply({"params": params}, residual)
    some, _ = block.apply({"params": params}, residual, positions)
    expected = np.take_along_axis(np.asarray(whole), np.asarray(positions)[..., None], axis=1)
    np.testing.assert_allclose(some, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("remat", REMAT)
def test_what_a_gradient_computes_again(remat):
    """Catches a policy that is ignored: ``none`` recomputes nothing, the others a part."""
    block, params, residual = block_of()
    again = rematerialized(remat)(block.mixer, block.config)
    loss = lambda params: (again.apply({"params": params}, residual)[0] ** 2).sum()
    program = str(jax.make_jaxpr(jax.grad(loss))(params))
    assert ("remat" in program) == (remat != "none")
    assert jax.tree.structure(params) == jax.tree.structure(jax.eval_shape(jax.grad(loss), params))


@pytest.mark.parametrize("feed_forward", ["mlp", "glu"])
def test_canon_in_and_before_the_feed_forward_part(feed_forward):
    """Catches a convolution without its residual, after the activation, or of half the GLU."""
    block, params, residual = block_of(feed_forward=feed_forward, canon=3, canon_at="CD")
    assert "canon" not in params
    seen = block.apply(
        {"params": params}, residual, capture_intermediates=is_site, mutable=["intermediates"]
    )[1]["intermediates"]
    at = {name: np.asarray(seen[name]["__call__"][0]) for name in block.config.components}
    call = lambda method, x: nn.apply(method, block)({"params": params}, jnp.asarray(x))
    x = at["mlp_input"] + call(lambda block, x: block.mlp_canon(x), at["mlp_input"])
    np.testing.assert_allclose(at["mlp_canon_output"], x, atol=1e-5)
    hidden = [call(lambda block, x: block.mlp.fc1(x), x)]
    if feed_forward == "glu":
        hidden.append(call(lambda block, x: block.mlp.fc2(x), x))
    hidden = jnp.concatenate(hidden, axis=-1)
    hidden = hidden + call(lambda block, h: block.hidden_canon(h), hidden)
    np.testing.assert_allclose(at["hidden_canon_output"], hidden, atol=1e-4)
    parts = jnp.split(hidden, 2 if feed_forward == "glu" else 1, axis=-1)
    if feed_forward == "glu":
        y = parts[0] * nn.gelu(parts[1], approximate=False)
        y = call(lambda block, y: block.mlp.fc3(y), y)
    else:
        y = call(lambda block, y: block.mlp.fc2(y), nn.gelu(parts[0], approximate=False))
    np.testing.assert_allclose(at["mlp_output"], y, atol=1e-4)


@pytest.mark.parametrize(
    "options",
    [
        {"canon": 3, "canon_at": "ABCD", "feed_forward": "glu"},
        {"mixer": "mamba", "canon": 2, "canon_at": "AD", "mamba_feed_forward": "mlp"},
    ],
    ids=["attention", "mamba"],
)
def test_forms_with_every_convolution(options):
    """Catches a window that a step forgets, and queries whose neighbours are not computed."""
    config, params, _ = planted.lively(options.pop("mixer", "attention"), **options)
    model, tokens = LanguageModel(config), jax.random.randint(jax.random.key(0), (2, 7), 0, 19)
    whole = jax.jit(lambda params: model.apply({"params": params}, tokens))(params)
    assert {"mlp", "hidden_canon"} <= set(params["block_0"])
    positions = jnp.array([[6, 1], [0, 2]])
    read = lambda params: model.apply({"params": params}, tokens, positions, skip_unread=True)
    expected = np.take_along_axis(np.asarray(whole), np.asarray(positions)[..., None], axis=1)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(jax.jit(read)(params), expected, atol=1e-5 * scale)
    state = model.apply({"params": params}, 2, 7, method="initial_state")
    step = jax.jit(lambda state, t: model.apply({"params": params}, state, t, method="step"))
    for t in range(7):
        state, logits = step(state, tokens[:, t])
        np.testing.assert_allclose(logits, whole[:, t], atol=1e-5 * np.abs(whole).max())


def test_places_that_are_none():
    """Catches a place that is passed over in silence."""
    with pytest.raises(UserError, match="canon_at is 'AE': letters of ABCD"):
        planted.untrained("attention", canon=4, canon_at="AE")
    with pytest.raises(UserError, match="canon_at is 'C': no layer has the feed-forward part"):
        planted.untrained("mamba", canon=4, canon_at="C")
    with pytest.raises(UserError, match=r"canon is 4: model.canon_at says where"):
        planted.untrained("attention", canon=4, canon_at="")
