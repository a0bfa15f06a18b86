"""Where one may look: the list of sites, their names, what they hold, what they cost."""

import functools
import re
import runpy

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax import site_path
from mecheval_jax.errors import UserError
from mecheval_jax.interventions import capture, resolve, site_paths
from mecheval_jax.interventions.capture import observe
from mecheval_jax.models.language_model import LanguageModel
from mecheval_jax.sites import Site
from tests.support import planted, small

MIXERS = ("attention", "base_conv", "based", "hyena", "mamba")
SIX = ("block_input", "mixer_input", "mixer_output", "mlp_input", "mlp_output", "block_output")
FOUR = ("block_input", "mixer_input", "mixer_output", "block_output")

ATTENTION = planted.shape_of("attention")


def listed(components, layers):
    blocks = [f"block_{layer}/{part}" for layer in range(layers) for part in components]
    return ["embedding", *blocks, "final_norm"]


def canonical(paths):
    return [path for path in paths if "/mixer/" not in path]


@functools.cache
def observed_of(mixer):
    """A model, its logits and all its activations."""
    config, params, task = planted.lively(mixer)
    batch = planted.documents(task, 4)
    model = LanguageModel(config)
    look = jax.jit(lambda params, tokens: observe(model, params, tokens))
    logits, activations = look(params, batch.tokens)
    return config, params, batch, logits, activations


@pytest.fixture(params=MIXERS)
def observed(request):
    return observed_of(request.param)


@pytest.mark.parametrize(
    ("mixer", "layers"),
    [
        *((mixer, 3) for mixer in MIXERS),
        ("attention", 1),
        ("attention", 2),
        ("mamba", 1),
        ("based", 1),
    ],
)
def test_the_documented_sites_are_the_captured_ones(mixer, layers):
    """Catches a site that is missing, extra, or out of order, at any depth."""
    config, params, _ = planted.lively(mixer, layers=layers)
    paths = site_paths(config)
    assert canonical(paths) == listed(FOUR if mixer == "mamba" else SIX, layers)
    captured = jax.eval_shape(
        lambda params: capture(LanguageModel(config), params, jnp.zeros((2, 5), jnp.int32)),
        params,
    )
    shapes = {path: leaf.shape for path, leaf in captured.items()}
    assert set(paths) == set(shapes)
    assert {shapes[path] for path in canonical(paths)} == {(2, 5, config.width)}


@pytest.mark.parametrize(("kind", "parts"), [("none", FOUR), ("glu", SIX), ("identity", SIX)])
def test_sites_follow_the_feed_forward_part(kind, parts):
    """Catches components that are listed by the architecture and not by what a block has."""
    config = planted.shape_of("attention", feed_forward=kind)
    assert list(config.components(1)) == list(parts)
    assert canonical(site_paths(config)) == listed(parts, 2)


def test_the_page_of_sites_is_the_code():
    """Catches a page that was edited by hand, or not written again."""
    page = runpy.run_path(str(small.ROOT / "docs" / "sites.py"))["render"]()
    assert (small.ROOT / "docs" / "sites.md").read_text() == page
    for mixer in MIXERS:
        for site in planted.shape_of(mixer).build_mixer(1).SITES:
            assert f"| `{site}` |" in page


LENS = {f"blocks.1.{name}": f"block_1/{site}" for name, site in site_path.TRANSFORMER_LENS.items()}
VENE = {f"{name}[1]": f"block_1/{site}" for name, site in site_path.PYVENE.items()}


@pytest.mark.parametrize(
    ("alias", "path"), (LENS | VENE | site_path.OUTSIDE_BLOCKS).items(), ids=str
)
def test_every_name_of_another_tool(alias, path):
    """Catches a documented name that is not accepted, or means a site that no model has."""
    mamba = any(part in path for part in ("projection", "conv", "ssm", "state", "decay", "write"))
    mamba |= path.rpartition("/")[2] in ("x", "B", "C", "dt")
    config = planted.shape_of("mamba") if mamba else ATTENTION
    assert resolve(alias, config) == path
    assert resolve(path, config) == path


def test_any_site_inside_a_mixer_answers_to_its_name():
    """Catches names that only the listed sites have."""
    config = planted.shape_of("based")
    assert resolve("blocks.1.mixer.hook_key_features", config) == "block_1/mixer/key_features"
    with pytest.raises(UserError, match="did you mean 'block_1/mixer/key_features'"):
        resolve("blocks.1.mixer.hook_key_feature", config)


@pytest.mark.parametrize(
    ("wrong", "nearest"),
    [
        ("block_1/mixer_outptu", "block_1/mixer_output"),
        ("block_0/blockinput", "block_0/block_input"),
        ("embeding", "embedding"),
        ("blocks.1.hook_mlp_outt", "block_1/mlp_output"),
        ("mlp_outputs[0]", "block_0/mlp_output"),
    ],
)
def test_an_unknown_site_names_the_nearest(wrong, nearest):
    """Catches a misspelt site that is accepted, or an error that does not help."""
    with pytest.raises(UserError, match=re.escape(f"did you mean '{nearest}'")):
        resolve(wrong, ATTENTION)


@pytest.mark.parametrize("wrong", ["block_2/block_input", "blocks.2.hook_resid_pre", ""])
def test_a_layer_that_the_model_lacks(wrong):
    """Catches layers that are clipped or wrapped into the model's range."""
    with pytest.raises(UserError, match="unknown site"):
        resolve(wrong, ATTENTION)


def test_a_mamba_block_has_no_mlp_sites():
    """Catches a list of components that is the same for every block."""
    with pytest.raises(UserError, match="unknown site 'block_0/mlp_output'"):
        resolve("blocks.0.hook_mlp_out", planted.shape_of("mamba"))


def test_capture_of_chosen_sites():
    """Catches a choice that is ignored, or that gives another site's values."""
    config, params, task = planted.lively("attention", layers=1)
    tokens = planted.documents(task, 4).tokens
    sites = ["blocks.0.hook_resid_pre", "final_norm"]

    @jax.jit
    def look(params, tokens):
        chosen = capture(LanguageModel(config), params, tokens, sites)
        return chosen, capture(LanguageModel(config), params, tokens)

    chosen, everything = look(params, tokens)
    assert set(chosen) == {"block_0/block_input", "final_norm"}
    for path, value in chosen.items():
        np.testing.assert_array_equal(value, everything[path])


def test_the_residual_stream_is_the_sum_of_its_parts(observed):
    """Catches a site before or after the addition that it should be after or before."""
    config, _, _, _, values = observed
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


def test_inputs_are_after_the_norm(observed):
    """Catches mixer_input, mlp_input or final_norm read before their norm."""
    config, params, _, logits, values = observed
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


def test_reading_at_the_query_alone_sees_the_same(observed):
    """Catches a shortened last layer whose logits or sites differ from the whole one's."""
    config, params, batch, logits, values = observed
    model, query = LanguageModel(config), batch.query_positions
    short, seen = jax.jit(
        lambda params, batch: observe(
            model, params, batch.tokens, positions=query, skip_unread=True
        )
    )(params, batch)
    at_query = lambda x: np.take_along_axis(np.asarray(x), np.asarray(query)[..., None], axis=1)
    np.testing.assert_allclose(short, at_query(logits), rtol=1e-4, atol=1e-4)
    after = {"final_norm", *(f"block_1/{part}" for part in ("mixer_output", *SIX[3:]))}
    for path in canonical(values):
        expected = at_query(values[path]) if path in after else values[path]
        np.testing.assert_allclose(seen[path], expected, rtol=1e-4, atol=1e-4)


def programs(config, params, interventions=None):
    """The program of a model, before and (lazily) after it is compiled."""

    def logits(params, tokens):
        variables = {"params": params, "interventions": interventions or {}}
        return LanguageModel(config).apply(variables, tokens)

    tokens = jnp.zeros((4, 8), jnp.int32)
    traced = jax.jit(logits).trace(params, tokens)
    return str(traced.jaxpr), lambda: traced.lower().compile().cost_analysis()["flops"]


@pytest.mark.parametrize("mixer", MIXERS)
def test_an_unused_site_leaves_no_trace(mixer, monkeypatch):
    """Catches a site that adds an operation (a copy, a mask, a product) where it is not used."""
    config, params, _ = planted.lively(mixer)
    with_sites, flops = programs(config, params)
    monkeypatch.setattr(Site, "__call__", lambda self, live, **_: live)
    without, flops_without = programs(config, params)
    assert with_sites == without
    if mixer in ("attention", "mamba"):
        assert flops() == flops_without() > 0


def test_a_used_site_leaves_a_trace():
    """Shows that the comparison above can tell: catches programs that are never affected."""
    config, params, _ = planted.lively("attention")
    entry = {"value": jnp.ones((4, 8, 16)), "mask": jnp.ones((4, 8, 1), bool)}
    used, flops = programs(config, params, {"block_0": {"mixer_output": entry}})
    unused, flops_unused = programs(config, params)
    assert used != unused
    assert flops() != flops_unused()
