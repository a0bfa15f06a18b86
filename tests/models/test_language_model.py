"""The type in which a model computes, and the shapes that a model may have."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.interventions import capture, run
from mecheval_jax.mixers import ARCHITECTURES
from mecheval_jax.models.half_precision import WIDE, in_compute_dtype
from mecheval_jax.models.language_model import (
    LanguageModel,
    ModelConfig,
    exempt_from_decay,
    initialize,
    parameter_count,
    scaled_rates,
)
from mecheval_jax.partitioning.rules import path_name
from tests.support import planted


def model_of(dtype):
    config, params, task = planted.lively("mamba,attention")
    model = LanguageModel(dataclasses.replace(config, dtype=dtype))
    return model, params, planted.documents(task, 2).tokens


# Catches a way into the model that computes in float32 unless its caller narrows the parameters.
def test_parameters_are_narrowed_inside():
    model, params, tokens = model_of("bfloat16")
    narrow = in_compute_dtype(params, "bfloat16")
    paths = [path for path, leaf in jax.tree.leaves_with_path(narrow) if leaf.dtype != "bfloat16"]
    kept = {path_name(path) for path in paths}
    assert all(name.endswith(WIDE) for name in kept)
    assert {"block_0/mixer/A_log", "block_0/mixer/dt_proj/bias"} <= kept
    apply = jax.jit(lambda params: model.apply({"params": params}, tokens))
    wide = jax.jit(lambda params: model_of("float32")[0].apply({"params": params}, tokens))
    np.testing.assert_array_equal(apply(params), apply(narrow))
    np.testing.assert_array_equal(
        apply(params), jax.jit(run, static_argnums=0)(model, params, tokens)
    )
    assert (np.asarray(apply(params)) != np.asarray(wide(params))).any()
    bound = model.bind({"params": params})
    assert bound.variables["params"]["token_embedding"]["embedding"].dtype == jnp.bfloat16
    state = model.apply({"params": params}, 2, 4, method="initial_state")
    step = jax.jit(
        lambda params: model.apply({"params": params}, state, tokens[:, 0], method="step")[1]
    )
    np.testing.assert_array_equal(step(params), step(narrow))


@pytest.mark.parametrize("tied", [True, False])
def test_logits_are_not_rounded(tied):
    """Catches logits in half precision, at all positions or at those that are asked for."""
    config, params, task = planted.lively("attention", layers=1, tied=tied, dtype="bfloat16")
    model, tokens = LanguageModel(config), planted.documents(task, 2).tokens
    queries = np.array([[3], [5]])

    @jax.jit
    def logits(params):
        (read,) = capture(model, params, tokens, ["final_norm"]).values()
        narrow = in_compute_dtype(params, config.dtype)
        tables = narrow["token_embedding"]["embedding"].T, narrow.get("output_head", {})
        found = (
            model.apply({"params": params}, tokens),
            *(
                model.apply({"params": params}, tokens, jnp.asarray(queries), skip_unread=skip)
                for skip in (False, True)
            ),
        )
        return read, tables[0] if tied else tables[1]["kernel"], found

    read, table, (everywhere, *asked) = logits(params)
    assert (read.dtype, everywhere.dtype) == (jnp.bfloat16, jnp.float32)
    exact = np.asarray(read, np.float64) @ np.asarray(table, np.float64)
    rounding = 1e-6 * np.abs(exact).max()
    np.testing.assert_allclose(everywhere, exact, rtol=0, atol=rounding)
    there = np.take_along_axis(exact, queries[..., None], axis=1)
    for found in asked:
        np.testing.assert_allclose(found, there, rtol=0, atol=rounding)


# Catches gradients that are rounded to the narrow type, and a float32 model that converts.
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_gradients_stay_wide(dtype):
    model, params, tokens = model_of(dtype)
    loss = lambda params: model.apply({"params": params}, tokens).sum()
    gradients = jax.eval_shape(jax.grad(loss), params)
    assert {leaf.dtype for leaf in jax.tree.leaves(gradients)} == {jnp.dtype("float32")}
    converts = str(jax.make_jaxpr(loss)(params)).count("new_dtype=bfloat16")
    assert (converts > 0) == (dtype == "bfloat16")


# Catches a shape that fails deep inside the first forward pass, or trains as another one.
@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("layers", 0, "layers is 0"),
        ("canon", -1, "canon is -1"),
        ("norm_epsilon", 0.0, "norm_epsilon is 0.0: it must be above 0"),
        ("norm", "batch", "unknown norm 'batch'.*layer, rms"),
        ("dtype", "float16", "unknown dtype 'float16'.*valid are float32, bfloat16"),
        ("mixer", "atention", "did you mean 'attention'"),
        ("mixer_options", {"head": 2}, "head"),
    ],
)
def test_shapes_that_are_refused(field, value, message):
    with pytest.raises(UserError, match=message):
        planted.shape_of(**({"mixer": "attention"} | {field: value}))


# Catches logits of padding rows, parameters that are counted twice where the head is tied, and
# tokens past the length limit that are read at the last position.
def test_options_belong_to_the_mixer_of_the_config():
    """Catches options of one mixer given to another, and attention without positions."""
    model = ModelConfig("attention", 2, 16, 8, 16, mixer_options={"heads": 2})
    assert model.changes_to("attention") == {"mixer": "attention"}
    there = {"mixer": "based", "positions": "none", "mixer_options": {}}
    assert model.changes_to("based") == there
    assert dataclasses.replace(model, **there).changes_to("attention")["positions"] == "learned"


def test_tables_and_lengths():
    config = planted.shape_of("attention", layers=1, positions="learned")
    padded = LanguageModel(config, rows=32)
    tokens = jnp.zeros((1, 2), jnp.int32)
    params = jax.eval_shape(lambda: padded.init(jax.random.key(0), tokens))["params"]
    assert params["token_embedding"]["embedding"].shape == (32, config.width)
    logits = jax.eval_shape(lambda params: padded.apply({"params": params}, tokens), params)
    assert logits.shape == (1, 2, config.vocabulary_size)
    untied = parameter_count(dataclasses.replace(config, tied=False))
    assert untied - parameter_count(config) == config.vocabulary_size * config.width
    long = jnp.zeros((1, config.max_length + 1), jnp.int32)
    with pytest.raises(UserError, match=f"the model's max_length is {config.max_length}"):
        jax.eval_shape(lambda params: padded.apply({"params": params}, long), params)


@pytest.mark.parametrize("mixer", [name for name in ARCHITECTURES if name != "based"])
def test_exempt_parameters_exist(mixer):
    """Catches a name of no parameter, whose weight decay would go on."""
    shape = {"layers": 2, "width": 32, "vocabulary_size": 5, "max_length": 8}
    config = ModelConfig(mixer, feed_forward="channel_mix", **shape)
    shapes = jax.eval_shape(lambda key: initialize(config, key), jax.random.key(0))
    paths = [path_name(path) for path, _ in jax.tree.leaves_with_path(shapes)]
    later = [path for path in exempt_from_decay(config) if path.startswith("block_1/")]
    assert set(later) <= set(paths)
    assert ("block_1/mixer/A_log" in paths) == ("block_1/mixer/A_log" in later)
    assert set(scaled_rates(config)) <= set(paths)
    assert bool(scaled_rates(config)) == (mixer == "rwkv7")
    if mixer == "rwkv7":  # all but its four matrices
        mixers = {path for path in paths if path.startswith("block_1/mixer/")}
        assert {path.split("/")[2] for path in mixers - set(later)} == {
            f"{name}_proj" for name in "rkvo"
        }
