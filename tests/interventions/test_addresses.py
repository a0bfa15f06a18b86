"""The list of sites of a model, and their names."""

import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from mecheval_jax import site_path
from mecheval_jax.errors import UserError
from mecheval_jax.interventions import capture, interchange, resolve, run, site_paths
from mecheval_jax.interventions.addresses import check_site
from mecheval_jax.models.language_model import LanguageModel, ModelConfig
from mecheval_jax.ops.positions import at_positions
from mecheval_jax.sites import Site
from tests.support import planted
from tests.support.observed import FOUR, MIXERS, SIX, canonical

ATTENTION = planted.shape_of("attention")


def listed(components, layers):
    blocks = [f"block_{layer}/{part}" for layer in range(layers) for part in components]
    return ["embedding", *blocks, "final_norm"]


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


class Unlisted(nn.Module):
    """A mixer of one's own whose sites have no order but that of their calls."""

    width: int

    def setup(self):
        self.conv = Inner()
        self.middle, self.before, self.after = Site(), Site(), Site()

    def __call__(self, x, positions=None):
        return at_positions(self.after(self.middle(self.conv(self.before(x)))), positions)


class Inner(nn.Module):
    @nn.compact
    def __call__(self, x):
        return Site(name="output")(x)


class Listed(Unlisted):
    SITES = {"after": "listed first", "absent": "never called", "middle": "listed third"}


@pytest.mark.parametrize(
    ("mixer", "order"),
    [
        (Unlisted, ["before", "conv/output", "middle", "after"]),
        (Listed, ["after", "middle", "before", "conv/output"]),
    ],
)
def test_sites_of_ones_own_mixer_are_in_its_order(mixer, order):
    """Catches sites by the alphabet, as jax sorts them, so that a grid shows the last first."""
    config = ModelConfig(f"{__name__}:{mixer.__name__}", 2, 8, 9, 6)
    for layer in range(2):
        inside = [p for p in site_paths(config) if p.startswith(f"block_{layer}/mixer/")]
        assert inside == [f"block_{layer}/mixer/{name}" for name in order]


@pytest.mark.parametrize(("kind", "parts"), [("none", FOUR), ("glu", SIX), ("identity", SIX)])
def test_sites_follow_the_feed_forward_part(kind, parts):
    """Catches components that are listed by the architecture and not by what a block has."""
    config = planted.shape_of("attention", feed_forward=kind)
    assert list(config.components(1)) == list(parts)
    assert canonical(site_paths(config)) == listed(parts, 2)


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


def test_every_site_of_a_model_is_known():
    """Catches a site that is refused, and one that is taken though no module has it."""
    layers = 2
    config = ModelConfig("attention,h3", layers, 16, 8, 8, canon=2, canon_at="ACD")
    for path in site_paths(config):
        check_site(path, config)
    for path in ("embeding", f"block_{layers}/block_input", "block_0/mixer/x_y", "block_0/q"):
        with pytest.raises(UserError, match=f"unknown site '{path}'"):
            check_site(path, config)


@pytest.mark.parametrize(
    ("mixer", "options", "site"),
    [
        ("attention", {}, "q_input"),
        ("forgetting_attention", {}, "gate"),
        ("mamba", {"gated": False}, "gate"),
    ],
)
def test_a_site_that_the_options_leave_out(mixer, options, site):
    """Catches an entry at a site of the mixer that this model lacks, which would do nothing."""
    config = ModelConfig(mixer, 1, 16, 8, 8, mixer_options=options)
    path = f"block_0/mixer/{site}"
    assert path not in site_paths(config)
    with pytest.raises(UserError, match=f"unknown site '{path}'"):
        check_site(path, config)


def test_entries_elsewhere_and_of_other_shapes(attention):
    """Catches a site that Flax passes over, and a value that is broadcast."""
    model, params, tokens = attention.model, attention.params, attention.tokens
    seen = capture(model, params, tokens, ["block_0/block_input"])
    patch = interchange(seen, ["block_0/block_input"])
    run(model, params, tokens, patch)
    with pytest.raises(UserError, match="did you mean 'block_0/block_input'"):
        run(model, params, tokens, {"block_0/block_inptu": patch["block_0/block_input"]})
    with pytest.raises(UserError, match="block_0/block_input: the value is"):
        capture(model, params, tokens[:2], interventions=patch)
