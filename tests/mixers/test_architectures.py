"""From the name in a config to the mixers of its layers."""

import re
import sys
import types

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.interventions import capture, run, site_paths
from mecheval_jax.mixers import (
    ARCHITECTURES,
    H3,
    RWKV4,
    Attention,
    BaseConv,
    Based,
    Hyena,
    Mamba,
    Mamba2,
    MixerContext,
    SlidingWindowAttention,
    build_mixer,
    mixer_of,
)
from mecheval_jax.models.language_model import LanguageModel, ModelConfig, initialize
from mecheval_jax.ops.positions import at_positions
from mecheval_jax.sites import Site
from tools import write_architectures

SHAPE = {"layers": 2, "width": 32, "max_length": 32}


# Catches a misspelt name or option that is passed over in silence.
def test_unknown_names():
    with pytest.raises(UserError, match=r"'atention'.*did you mean 'attention'"):
        build_mixer("atention", MixerContext(0, **SHAPE))
    with pytest.raises(UserError, match=r"'mamba'.*'d_cnov'.*d_conv"):
        build_mixer("mamba", MixerContext(0, **SHAPE), {"d_cnov": 2})
    with pytest.raises(UserError, match="'width'"):  # it comes from the model
        build_mixer("attention", MixerContext(0, **SHAPE), {"width": 8})


# Catches layers that are numbered from 1, and options that reach no layer.
@pytest.mark.parametrize(
    ("architecture", "expected"),
    [
        ("attention", [Attention(32, layers=2)] * 2),
        ("sliding_window_attention", [SlidingWindowAttention(32, layers=2, window=64)] * 2),
        ("base_conv", [BaseConv(32, 32, kernel=3), BaseConv(32, 32, kernel="implicit")]),
        ("based", [BaseConv(32, 32, kernel=3), Based(32)]),
        ("hyena", [Hyena(32, 32, layers=2)] * 2),
        ("h3", [H3(32, 32, head_dim=2)] * 2),
        ("mamba", [Mamba(32, layers=2)] * 2),
        ("mamba2", [Mamba2(32, layers=2)] * 2),
        ("rwkv4", [RWKV4(32, layer=0, layers=2), RWKV4(32, layer=1, layers=2)]),
        ("attention,mamba", [Attention(32, layers=2), Mamba(32, layers=2)]),
    ],
)
def test_architectures(architecture, expected):
    assert [build_mixer(architecture, MixerContext(layer, **SHAPE)) for layer in (0, 1)] == expected


# Catches a name that no layer can be built from.
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_has_a_recurrent_form(architecture):
    mixer = build_mixer(architecture, MixerContext(1, **SHAPE))
    assert {"initial_state", "step"} <= set(dir(mixer))
    assert mixer.SITES


# Catches an option for one kind of layer that is refused, or lost, in a mixed architecture.
def test_options_go_to_the_layers_that_have_them():
    built = [
        build_mixer("based", MixerContext(layer, **SHAPE), {"heads": 2, "kernel": 4})
        for layer in (0, 1)
    ]
    assert built == [BaseConv(32, 32, kernel=4), Based(32, heads=2)]


# Catches a list of values that is given whole to every layer, or cut to the layers there are.
def test_options_by_layer():
    options = {"kernel": [3, "explicit"]}
    built = [build_mixer("base_conv", MixerContext(layer, **SHAPE), options) for layer in (0, 1)]
    assert built == [BaseConv(32, 32, kernel=3), BaseConv(32, 32, kernel="explicit")]
    with pytest.raises(UserError, match="kernel has 3 values for 2 layers"):
        build_mixer("base_conv", MixerContext(0, **SHAPE), {"kernel": [1, 2, 3]})


# Catches a config that is equal to another and is compiled again.
def test_equal_configs_have_equal_hashes():
    options = [{"d_conv": 2, "d_state": 4}, {"d_state": 4, "d_conv": 2}]
    one, two = (ModelConfig("mamba", vocabulary_size=5, mixer_options=o, **SHAPE) for o in options)
    assert one == two
    assert hash(one) == hash(two)


# Catches rotary positions that are dropped where no mixer has them, and learned ones as well.
def test_positions_inside_the_mixers():
    config = ModelConfig("attention", vocabulary_size=5, positions="rotary", **SHAPE)
    assert config.build_mixer(1).encoding == "rotary"
    shapes = jax.eval_shape(lambda: initialize(config, jax.random.key(0)))
    assert "position_embedding" not in shapes
    with pytest.raises(UserError, match=r"'rotary'.*'mamba'"):
        ModelConfig("mamba", vocabulary_size=5, positions="rotary", **SHAPE)
    for mixer, where in (
        ("taylor_attention", "taylor_attention .layer 0"),
        ("attention, taylor_attention", "taylor_attention .layer 1"),
        ("based", "based .layer 1"),
    ):
        message = rf"model.positions 'alibi': {where}.*valid are learned, none, rotary$"
        with pytest.raises(UserError, match=message):
            ModelConfig(mixer, vocabulary_size=5, positions="alibi", **SHAPE)


# Catches a hybrid whose blocks all follow the first mixer.
def test_a_hybrid_has_the_block_of_each_mixer():
    config = ModelConfig("mamba,attention", vocabulary_size=5, **SHAPE)
    params = jax.eval_shape(lambda: initialize(config, jax.random.key(0)))
    assert "mlp" not in params["block_0"]
    assert "bias" not in params["block_0"]["mixer_norm"]
    assert "mlp" in params["block_1"]
    assert "bias" in params["block_1"]["mixer_norm"]
    with pytest.raises(UserError, match="names 2 mixers for 3 layers"):
        ModelConfig("mamba,attention", vocabulary_size=5, **(SHAPE | {"layers": 3}))


# Catches a residual convolution that replaces its input, or that reads ahead of the norm.
def test_canon_adds_a_convolution_to_what_the_mixer_reads():
    config = ModelConfig("attention", vocabulary_size=5, canon=4, **SHAPE)
    model, tokens = LanguageModel(config), jnp.array([[1, 2, 3, 4, 0]])
    params = jax.jit(lambda key: initialize(config, key))(jax.random.key(0))
    look = jax.jit(lambda params: capture(model, params, tokens))
    seen = look(params)
    x, y = seen["block_0/mixer_input"], seen["block_0/canon_output"]
    taps, bias = params["block_0"]["canon"]["weight"], params["block_0"]["canon"]["bias"]
    expected = x[0, 3] + bias + (taps * x[0, :4]).sum(axis=0)
    assert jnp.allclose(y[0, 3], expected, atol=1e-5)


class Mean(nn.Module):
    """Averages what came before: a user's own mixer."""

    width: int
    gain: float = 1.0

    @nn.compact
    def __call__(self, x, positions=None):
        sums = Site(name="sums")(jnp.cumsum(x, axis=1))
        count = jnp.arange(1, x.shape[1] + 1)[None, :, None]
        return at_positions(self.gain * nn.Dense(self.width)(sums / count), positions)


class Tapped(Mean):
    """Has options with the names of what the model sets in mixers of this package."""

    canon: int = 7
    canon_bias: bool = False


class Derived(Attention):
    """Attention with something else; its Canon-B is that of this package."""


class Deaf(nn.Module):
    """Takes no positions."""

    def __call__(self, x):
        return x


class Strict(Mean):
    """Refuses a gain, as its author does."""

    def __post_init__(self):
        super().__post_init__()
        if self.gain < 0:
            raise ValueError(f"gain {self.gain}")


class Annotated(Mean):
    """With a name that only a type checker knows."""

    table: "Unknown | None" = None  # noqa: F821


@pytest.fixture
def own_module(monkeypatch):
    module = types.ModuleType("their_mixers")
    module.Mean, module.Deaf, module.number = Mean, Deaf, 3
    module.Strict, module.Annotated = Strict, Annotated
    module.Tapped, module.Derived = Tapped, Derived
    monkeypatch.setitem(sys.modules, "their_mixers", module)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("width", "a", "gla: width is 'a': it takes a number"),
        ("width", 0, "gla: width is 0: a whole number, at least 1"),
        ("heads", 0, "gla: heads is 0: a whole number, at least 1"),
    ],
)
def test_a_single_mixer_with_a_value_that_cannot_be(field, value, message):
    """Catches the fields of the model that are handed on as they are, and fail inside Flax."""
    with pytest.raises(UserError, match=message):
        mixer_of("gla", {"width": 16} | {field: value})


@pytest.mark.usefixtures("own_module")
def test_a_mixer_of_ones_own():
    """Catches a plug-in whose options, sites or positions are lost."""
    options = {"mixer_options": {"gain": 2.0}}
    config = ModelConfig("their_mixers:Mean", vocabulary_size=5, **options, **SHAPE)
    assert config.build_mixer(0) == Mean(32, gain=2.0)
    tokens, queries = jnp.zeros((2, 6), jnp.int32), jnp.array([[5], [2]])
    model = LanguageModel(config)
    params = jax.jit(lambda key: initialize(config, key))(jax.random.key(0))
    whole = jax.jit(lambda params: run(model, params, tokens))(params)
    last = lambda params: run(model, params, tokens, positions=queries, skip_unread=True)
    assert jnp.allclose(jax.jit(last)(params), at_positions(whole, queries), atol=1e-5)
    assert "block_1/mixer/sums" in site_paths(config)


@pytest.mark.usefixtures("own_module")
@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("their_mixer:Mean", "cannot be imported: No module named 'their_mixer'.*PYTHONPATH"),
        ("a.b:Mean", "cannot be imported: No module named 'a'; .* the folder of a/b.py must be on"),
        ("my_ssm.py:Mean", "names a file: give my_ssm:Mean, an import path without .py, with"),
        ("runs/my_ssm.py:Mean", "names a file: give my_ssm:Mean"),
        ("their_mixers:Maen", r"class of their_mixers 'Maen' \(did you mean 'Mean'\?\)"),
        ("their_mixers:number", "not a Flax module"),
        (":Mean", "cannot be imported"),
        ("their_mixers:Deaf", r"must take \(x, positions=None\)"),
        ("mecheval_jax.mixers.matrix_state:MatrixStateMixer", "no mixer, but a part or the base"),
    ],
)
def test_what_is_no_mixer(path, message):
    with pytest.raises(UserError, match=message):
        ModelConfig(path, vocabulary_size=5, **SHAPE)


@pytest.mark.usefixtures("own_module")
def test_what_ones_own_class_refuses():
    """Catches a traceback from a constructor, and from an annotation that Flax never reads."""
    shape = {"vocabulary_size": 5, **SHAPE}
    with pytest.raises(UserError, match=r"their_mixers:Strict' cannot be built: ValueError: gain"):
        ModelConfig("their_mixers:Strict", mixer_options={"gain": -1.0}, **shape)
    config = ModelConfig("their_mixers:Annotated", mixer_options={"gain": 2.0}, **shape)
    assert config.build_mixer(0).gain == 2.0


@pytest.mark.parametrize(
    "content", ["def x(:", "y = it", "raise SystemError('no')", "raise SystemExit('Error: no')"]
)
def test_a_file_that_cannot_be_read(content, tmp_path, monkeypatch):
    """Catches a traceback of what a user's own file raises."""
    (tmp_path / "broken_mixers.py").write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "broken_mixers", raising=False)
    with pytest.raises(UserError, match=r"'broken_mixers:Broken' cannot be imported: .*Error: "):
        ModelConfig("broken_mixers:Broken", vocabulary_size=5, **SHAPE)


@pytest.mark.usefixtures("own_module")
def test_options_of_ones_own_have_no_bounds():
    """Catches bounds of built-in options, where a gain below 0 is as good."""
    for gain in (-2.0, 0.0):
        options = {"mixer_options": {"gain": gain}}
        config = ModelConfig("their_mixers:Mean", vocabulary_size=5, **options, **SHAPE)
        assert config.build_mixer(0).gain == gain
    with pytest.raises(UserError, match=r"gain is nan: a number"):
        ModelConfig(
            "their_mixers:Mean", vocabulary_size=5, mixer_options={"gain": float("nan")}, **SHAPE
        )


@pytest.mark.usefixtures("own_module")
def test_fields_of_ones_own_are_options():
    """Catches taps of Canon-B in a field of the same name, and a derived class without them."""
    shape = {"vocabulary_size": 5, **SHAPE}
    canon = {"canon": 4, "canon_at": "AB"}
    mixer = "their_mixers:Tapped,attention"
    built = [ModelConfig(mixer, **canon, **shape).build_mixer(layer) for layer in (0, 1)]
    assert [(mixer.canon, mixer.canon_bias) for mixer in built] == [(7, False), (4, True)]
    options = {"mixer_options": {"canon": 2, "canon_bias": True}}
    chosen = ModelConfig(mixer, **options, **shape)
    assert [chosen.build_mixer(layer).canon for layer in (0, 1)] == [2, 0]
    with pytest.raises(UserError, match="canon_at has B: no mixer"):
        ModelConfig("their_mixers:Tapped", **canon, **shape)
    derived = ModelConfig("their_mixers:Derived", **canon, **shape)
    assert derived.build_mixer(0).canon == 4
    with pytest.raises(UserError, match="no option 'canon'"):
        ModelConfig("their_mixers:Derived", **options, **shape)


def test_options_that_every_use_refuses():
    """Catches a page that offers them, and one that hides those of the other relatives."""
    page = write_architectures.EQUATIONS.read_text()
    offered = {
        name: set(re.findall(r"^\| `(\w+)`", part, re.MULTILINE))
        for name, part in re.findall(r"^## (\w+)$(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    }
    assert {"gated", "kernel"} <= offered["delta_net"]
    assert "`gated` (delta_net)" not in page
    assert "`gated` (gated_delta_net)" in page
    for name in ("gla", "retnet", "hgrn2"):
        assert "kernel" not in offered[name]
        assert ("gated" in offered[name]) == (name != "hgrn2")


def test_the_table_is_the_code():
    """Catches a page that was edited by hand: run python -m tools.write_architectures."""
    page = write_architectures.PAGE.read_text()
    powers = write_architectures.powers_on(page)
    assert write_architectures.written(page, powers) == page
    assert all(f"| `{name}` | [" in page for name in ARCHITECTURES)
    assert write_architectures.EQUATIONS.read_text() == write_architectures.equations()


@pytest.mark.parametrize("name", ["based", "gla"])
def test_powers_in_the_table(name):
    """Catches a count that changed since it was written down."""
    powers = write_architectures.powers_on(write_architectures.PAGE.read_text())
    assert powers[name] == write_architectures.growth(name)
