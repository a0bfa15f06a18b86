"""Training with bfloat16 activations, all mixers of the family."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.interventions import capture, interchange, run
from mecheval_jax.mixers import ARCHITECTURES
from mecheval_jax.models.decoding import greedy
from mecheval_jax.models.language_model import (
    LanguageModel,
    ModelConfig,
    initialize,
    parameter_shapes,
)
from mecheval_jax.training.state import Policy
from tests.support import small

STEPS = 40
MODELS = (
    "attention,base_conv,taylor_attention,hyena,mamba,sliding_window_attention",
    *small.HYBRIDS,
)


def experiment_of(mixers, dtype):
    return small.experiment(
        {
            "model.mixer": mixers,
            "model.layers": len(mixers.split(",")),
            "model.feed_forward": "none",
            "model.mixer_options": {"head_dim": 16} if re.search("mamba[23]", mixers) else {},
            "model.dtype": dtype,
        },
        steps=STEPS,
        steps_per_dispatch=STEPS,
        batch_size=32,
        learning_rate=1e-2,
        warmup_fraction=0.1,
    )


def trained(mixers, dtype):
    """The experiment, its state after some steps, and the losses."""
    experiment = experiment_of(mixers, dtype)
    programs = small.programs(experiment)
    steps = programs.steps(Policy.RAISE)
    state, metrics = steps(programs.create(), np.int32(0), np.int32(STEPS))
    return experiment, state, np.asarray(metrics["loss"])


# Catches filters that are computed in half precision, in which far positions are one number.
@pytest.mark.parametrize(
    ("mixer", "options"), [("hyena", {}), ("base_conv", {"kernel": "implicit"})]
)
def test_filters_are_computed_wide(mixer, options):
    config = ModelConfig(mixer, 1, 8, vocabulary_size=5, max_length=1024, mixer_options=options)
    params = initialize(config, jax.random.key(0))

    def filter_of(dtype):
        model = LanguageModel(dataclasses.replace(config, dtype=dtype))
        return model.bind({"params": params}).block[0].mixer.filter(1024)

    taps = filter_of("bfloat16")
    assert taps.dtype == jnp.float32
    np.testing.assert_allclose(taps, filter_of("float32"), rtol=1e-6)


# Catches the bias of Mamba's step sizes in half precision, in which they are up to 1.6 % off.
@pytest.mark.parametrize("mixer", ["mamba", "mamba2"])
def test_step_sizes_are_computed_wide(mixer):
    config = ModelConfig(mixer, 1, 64, vocabulary_size=5, max_length=8, dtype="bfloat16")
    params = initialize(config, jax.random.key(0))
    own = params["block_0"]["mixer"]
    own["x_proj" if mixer == "mamba" else "in_proj"]["kernel"] *= 0
    bias = own["dt_proj"]["bias"] if mixer == "mamba" else own["dt_bias"]
    seen = capture(LanguageModel(config), params, jnp.zeros((1, 1), jnp.int32))
    steps = seen["block_0/mixer/dt"][0, 0]
    assert steps.dtype == jnp.float32
    np.testing.assert_allclose(steps, jax.nn.softplus(bias), rtol=1e-6)


def sums(jaxpr, documents):
    """Equations of a program that add up numbers of half precision over the documents."""
    for equation in jaxpr.eqns:
        name, results = equation.primitive.name, equation.outvars
        if name == "scan":  # what a loop carries, such as the gradient of what it reads
            results = results[: equation.params["num_carry"]]
        if name in ("scan", "reduce_sum", "scatter-add"):
            read = any(documents in one.aval.shape for one in equation.invars)
            half = [one.aval for one in results if one.aval.dtype == jnp.bfloat16]
            if read and any(documents not in aval.shape for aval in half):
                yield str(equation)
        for inner in jax.tree.leaves([*equation.params.values()]):
            inner = getattr(inner, "jaxpr", inner)
            if hasattr(inner, "eqns"):
                yield from sums(inner, documents)


# Catches a parameter that all tokens share, or a row of the vocabulary, whose gradient is summed
# over tokens in half precision.
@pytest.mark.parametrize("mixer", [name for name in ARCHITECTURES if name != "based"])
def test_no_gradient_is_summed_in_half_precision(mixer):
    config = ModelConfig(
        mixer,
        2,
        16,
        vocabulary_size=9,
        max_length=64,
        positions="learned" if mixer == "attention" else "none",
        feed_forward="channel_mix" if mixer == "rwkv7" else "glu",
        canon=3 if mixer in ("attention", "gla") else 0,
        canon_at="ABCD",
        mixer_options={"head_dim": 8} if "mamba" in mixer and mixer != "mamba" else {},
        dtype="bfloat16",
        tied=mixer != "attention",
    )
    tokens = jnp.zeros((13, 37), jnp.int32)
    loss = lambda params: LanguageModel(config).apply({"params": params}, tokens).sum()
    program = jax.make_jaxpr(jax.grad(loss))(parameter_shapes(config))
    assert not [*sums(program.jaxpr, len(tokens))]


# Catches sums that end at 256 like terms: gradients were up to half too small.
@pytest.mark.parametrize(
    ("mixer", "changes"),
    [
        ("attention", {"positions": "learned", "canon": 2, "canon_at": "ABCD"}),
        ("mamba2", {"mixer_options": {"head_dim": 8, "d_state": 8}}),
        ("rwkv4", {"feed_forward": "channel_mix"}),
        ("lstm", {"tied": False}),
    ],
)
def test_gradients_are_those_of_float32(mixer, changes):
    config = ModelConfig(mixer, 1, 8, vocabulary_size=3, max_length=256, **changes)
    random = np.random.default_rng(0)
    tokens = jnp.asarray(random.integers(0, 3, (32, 256)), jnp.int32)

    def moved(leaf):  # to numbers of half precision
        leaf = leaf + 0.2 * random.standard_normal(leaf.shape)
        return leaf.astype(jnp.bfloat16).astype(jnp.float32)

    params = jax.tree.map(moved, initialize(config, jax.random.key(0)))

    def gradients(dtype):
        model = LanguageModel(dataclasses.replace(config, dtype=dtype))

        def loss(params):
            return -jax.nn.log_softmax(model.apply({"params": params}, tokens))[..., 0].mean()

        return jax.jit(jax.grad(loss))(params)

    pairs = jax.tree.map(lambda a, b: (a, b), gradients("bfloat16"), gradients("float32"))
    for path, (half, whole) in jax.tree.leaves_with_path(pairs, is_leaf=lambda x: type(x) is tuple):
        error = float(np.linalg.norm(half - whole) / np.linalg.norm(whole))
        assert error <= 0.02, (jax.tree_util.keystr(path), error)


# Catches a mixer that is in no model below.
def test_every_architecture_is_there():
    named = {name for mixers in MODELS for name in mixers.split(",")}
    assert named == set(ARCHITECTURES) - {"based"}  # base_conv and taylor_attention


# Catches a recurrence that overflows in half precision, parameters that are kept in it (small
# steps are lost then),
# and activations that one mixer widens for all that follow.
@pytest.mark.parametrize("mixers", MODELS)
def test_it_trains(mixers):
    experiment, state, losses = trained(mixers, "bfloat16")
    assert np.isfinite(losses).all()
    assert losses[-5:].mean() < losses[:3].mean() - 0.3
    assert {leaf.dtype for leaf in jax.tree.leaves(state.params)} == {jnp.dtype("float32")}
    model = LanguageModel(experiment.model)
    tokens = jnp.zeros((1, 4), jnp.int32)
    look = lambda params: capture(model, params, tokens)
    seen, half = jax.eval_shape(look, state.params), jnp.dtype("bfloat16")
    wide = [path for path, leaf in seen.items() if leaf.dtype != half]
    assert all(re.search("/(dt|turn|decay|state|write|erase)$", path) for path in wide), wide


# Catches states of a loop, or of a decoder, that change their dtype from token to token, and a
# stream that is wide after a state was replaced, so that later layers take no entry any more.
@pytest.mark.parametrize("mixers", MODELS)
def test_states_are_replaced_and_tokens_generated(mixers):
    config = experiment_of(mixers, "bfloat16").model
    model, tokens = LanguageModel(config), jnp.ones((2, 4), jnp.int32)
    last = f"block_{config.layers - 1}/mixer_input"

    def patched(params):
        seen = capture(model, params, tokens)
        states = [path for path in seen if path.endswith("/state")]
        return run(model, params, tokens, interchange(seen, [*states, last]))

    def patched_everywhere(params):
        seen = capture(model, params, tokens)
        return run(model, params, tokens, interchange(seen, [*seen]))

    params = parameter_shapes(config)
    assert jax.eval_shape(patched, params).shape[:2] == (2, 4)
    # What is read of a wide state that was replaced is as narrow as without it, at every site.
    assert jax.eval_shape(patched_everywhere, params).shape[:2] == (2, 4)
    assert jax.eval_shape(lambda p: greedy(model, p, tokens, 3), params).shape == (2, 3)
