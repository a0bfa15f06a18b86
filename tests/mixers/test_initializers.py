"""Fresh models have the study's parameters: their number, shapes and distribution.

`golden/init_stats_d64_np1024.json` holds the statistics of one fresh model of each kind,
as the reference draws it (width 64, 1024 positions, vocabulary 8196, 2 layers). They are
facts about another program: no change of ours is a reason to update them.
"""

import collections
import functools
import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from mecheval_jax.interop import from_reference
from mecheval_jax.mixers.initializers import orthogonal
from mecheval_jax.models.language_model import ModelConfig, initialize, parameter_count
from tests.support import golden_files

STUDY = {"width": 64, "layers": 2, "max_length": 1024, "vocabulary_size": 8196}
MODELS = {
    "attention": ModelConfig("attention", positions="learned", **STUDY),
    "hyena": ModelConfig("hyena", positions="learned", **STUDY),
    "base_conv": ModelConfig("base_conv", positions="learned", **STUDY),
    "based": ModelConfig("based", positions="learned", **STUDY),
    "mamba": ModelConfig("mamba", positions="learned", **STUDY),
    "mamba_without_conv": ModelConfig(
        "mamba", positions="learned", mixer_options={"d_conv": 0}, **STUDY
    ),
    "mamba_no_causal_conv1d": ModelConfig(
        "mamba", positions="learned", mixer_options={"d_conv": 1}, **STUDY
    ),
    "h3": ModelConfig("h3", positions="learned", **STUDY),
    "mamba2": ModelConfig("mamba2", positions="learned", **STUDY),
}
GOLDEN = json.loads((golden_files.FOLDER / "init_stats_d64_np1024.json").read_text())
FIXED = (
    "A_log",
    "pos_emb.z",
    "ssm_k_kernel.kernel.B",
    "kernel.kernel.B",
    "kernel.inv_A_real",
    "kernel.A_imag",
)
"""Ends of the names of parameters that start at given values, not all the same."""


def is_fixed(model, parameter):
    """Mamba-2 draws what Mamba sets."""
    return parameter.endswith(FIXED) and model != "mamba2"


SIGMAS = 5
"""Their samples and ours are compared within so many standard errors of the difference."""


@functools.cache
def fresh(name):
    """Parameters of a fresh model, by path."""
    params = jax.jit(lambda key: initialize(MODELS[name], key))(jax.random.key(3))
    return {path: np.asarray(leaf) for path, leaf in flatten_dict(params, sep="/").items()}


@functools.cache
def pairs(name):
    """The reference's statistics of a parameter and our values: name -> (statistics, values).

    Arrays that hold nothing but a number for their name go through the converter; where the
    number comes out is the same parameter of ours. That fails on a name or shape that the
    reference does not have.
    """
    entries = GOLDEN[name]["params"]
    names = list(entries)
    marked = {n: np.full(entries[n]["shape"], i, np.float32) for i, n in enumerate(names)}
    ours = collections.defaultdict(list)
    for path, leaf in flatten_dict(from_reference(marked, MODELS[name]), sep="/").items():
        (number,) = np.unique(leaf)
        ours[names[int(number)]].append(fresh(name)[path].ravel())
    return {n: (entries[n], np.concatenate(values)) for n, values in ours.items()}


# Catches a parameter that is missing from the comparison below.
@pytest.mark.parametrize("name", MODELS)
def test_every_parameter_is_compared(name):
    compared = sum(values.size for _, values in pairs(name).values())
    assert compared == parameter_count(MODELS[name])
    dead = set(GOLDEN[name]["params"]) - set(pairs(name))
    expected = "conv1d" if name == "mamba_without_conv" else None
    assert all(expected and expected in entry for entry in dead)


# Catches a wrong scale, a rescaled projection too many or too few, a bias that is not 0.
@pytest.mark.parametrize("name", MODELS)
def test_mean_and_standard_deviation(name):
    for parameter, (theirs, ours) in pairs(name).items():
        if theirs["std"] == 0:
            np.testing.assert_array_equal(ours, theirs["mean"], err_msg=parameter)
        elif is_fixed(name, parameter):
            found = [ours.mean(), ours.std(ddof=1), ours.min(), ours.max()]
            expected = [theirs[n] for n in ("mean", "std", "min", "max")]
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6, err_msg=parameter)
        elif ours.size > 10:  # a sample of two tells nothing: see the tests of Mamba-2 below
            error = SIGMAS * np.sqrt(2 / ours.size)
            assert abs(ours.mean() - theirs["mean"]) < error * theirs["std"], parameter
            # sqrt(1/2): of a normal distribution; those with ends vary less.
            assert abs(ours.std() / theirs["std"] - 1) < error * np.sqrt(1 / 2), parameter


# Catches a normal distribution where a uniform one of the same width is meant, and the reverse.
@pytest.mark.parametrize("name", MODELS)
def test_ends_of_the_distributions(name):
    uniform = []
    for parameter, (theirs, ours) in pairs(name).items():
        if theirs["std"] == 0 or is_fixed(name, parameter) or ours.size < 500:
            continue
        reach = max(abs(theirs["min"]), abs(theirs["max"])) / theirs["std"]
        if reach < 2:  # sqrt(3), where a uniform distribution ends
            uniform.append(parameter)
            assert ours.min() == pytest.approx(theirs["min"], rel=0.05), parameter
            assert ours.max() == pytest.approx(theirs["max"], rel=0.05), parameter
        else:
            assert np.abs(ours).max() / ours.std() > 2.5, parameter
    assert any("in_proj" in parameter for parameter in uniform) == name.startswith("mamba")


# Catches A_log laid out [state, inner], or starting from log(0).
def test_decay_rates_of_mamba():
    expected = np.broadcast_to(np.log(np.arange(1, 17)), (128, 16))
    np.testing.assert_allclose(fresh("mamba")["block_1/mixer/A_log"], expected, rtol=1e-6)


# Catches a time step that is uniform instead of log-uniform, or the wrong inverse of softplus.
def test_time_steps_of_mamba():
    bias = fresh("mamba")["block_0/mixer/dt_proj/bias"]
    position = (np.log(np.log1p(np.exp(bias))) - np.log(1e-3)) / np.log(1e-1 / 1e-3)
    assert (position > -1e-3).all()
    assert (position < 1 + 1e-3).all()
    assert abs(position.mean() - 1 / 2) < SIGMAS * np.sqrt(1 / 12 / bias.size)


# Catches rates and steps of Mamba-2 that are spaced evenly in the logarithm, or the reverse.
def test_rates_and_steps_of_mamba2():
    wide = ModelConfig(
        "mamba2",
        layers=1,
        width=512,
        vocabulary_size=5,
        max_length=4,
        mixer_options={"head_dim": 1, "d_state": 1},
    )
    draw = jax.jit(lambda key: initialize(wide, key))
    mixer = draw(jax.random.key(0))["block_0"]["mixer"]
    rates = np.exp(mixer["A_log"])
    assert 1 <= rates.min() < 1.1
    assert 15.9 < rates.max() <= 16
    assert abs(rates.mean() - 8.5) < SIGMAS * 15 * np.sqrt(1 / 12 / rates.size)
    steps = (np.log(np.log1p(np.exp(mixer["dt_bias"]))) - np.log(1e-3)) / np.log(1e2)
    assert abs(steps.mean() - 1 / 2) < SIGMAS * np.sqrt(1 / 12 / steps.size)


# Catches frequencies that start at pi, and a shift that starts at another entry than the first.
def test_states_of_h3():
    mixer = {p: leaf for p, leaf in fresh("h3").items() if p.startswith("block_0/mixer")}
    shift = mixer["block_0/mixer/shift_B"]
    np.testing.assert_array_equal(shift, np.eye(1, 1024).repeat(64, axis=0))
    frequencies = mixer["block_0/mixer/kernel/A_imag"]
    np.testing.assert_allclose(frequencies, np.pi * np.arange(512)[None].repeat(32, 0), rtol=1e-6)
    np.testing.assert_allclose(np.exp(mixer["block_0/mixer/kernel/inv_A_real"]), 0.5, rtol=1e-6)


# Catches features computed from the input's length instead of the limit, or a lost sign.
@pytest.mark.parametrize(
    ("name", "path"),
    [("hyena", "block_0/mixer/filter/features"), ("base_conv", "block_1/mixer/filter/features")],
)
def test_position_features(name, path):
    index = np.arange(1024)
    angle = 1e-4 * 2 * np.pi * index / 1024
    expected = np.stack([index / 1023, np.cos(angle), -np.sin(angle)], axis=-1)
    np.testing.assert_allclose(fresh(name)[path], expected, rtol=1e-5, atol=1e-10)


# Catches one key used for two parameters, and a key that is not used at all.
@pytest.mark.parametrize("name", ["attention", "hyena", "mamba"])
def test_no_two_parameters_are_drawn_alike(name):
    drawn = [
        leaf.ravel()[:8].tobytes()
        for path, leaf in fresh(name).items()
        if leaf.std() > 0 and not path.endswith(("features", "A_log"))
    ]
    assert len(set(drawn)) == len(drawn)
    config = ModelConfig("attention", layers=1, width=8, vocabulary_size=5, max_length=4)
    embedding = lambda seed: initialize(config, jax.random.key(seed))["token_embedding"]
    assert not np.array_equal(embedding(0)["embedding"], embedding(1)["embedding"])
    np.testing.assert_array_equal(embedding(0)["embedding"], embedding(0)["embedding"])


# Catches a bias, an untied head or a position table too many or too few: the study's counts.
@pytest.mark.parametrize(
    ("mixer", "shape", "count"),
    [
        ("attention", {}, 689_792),
        ("hyena", {}, 723_456),
        ("base_conv", {}, 669_696),
        ("based", {}, 670_528),
        ("mamba", {}, 655_616),
        ("mamba", {"mixer_options": {"d_conv": 1}}, 654_848),
        ("h3", {}, 1_149_184),
        ("mamba2", {}, 676_620),
        ("attention", {"width": 256, "vocabulary_size": 26}, 1_847_296),
        ("based", {"width": 128, "vocabulary_size": 26, "positions": "none"}, 319_872),
        ("mamba", {"width": 128, "vocabulary_size": 26, "positions": "none"}, 236_800),
        (
            "mamba",
            {"width": 256, "layers": 1, "vocabulary_size": 26, "positions": "none"},
            445_184,
        ),
        ("mamba", {"width": 256, "positions": "none"}, 2_974_720),
    ],
)
def test_parameter_counts_of_the_study(mixer, shape, count):
    config = ModelConfig(mixer, **({"positions": "learned"} | STUDY | shape))
    assert parameter_count(config) == count


# Catches a count that disagrees with the parameters there are.
def test_parameter_count_counts_the_parameters():
    config = ModelConfig("based", layers=2, width=8, vocabulary_size=5, max_length=4)
    leaves = jax.tree.leaves(initialize(config, jax.random.key(0)))
    assert parameter_count(config) == sum(jnp.size(leaf) for leaf in leaves)


# Catches rows that are not orthogonal any more, and other matrices than those that Flax draws.
@pytest.mark.parametrize("shape", [(64, 64), (16, 48), (48, 16), (7, 1)])
def test_orthogonal_matrices_are_those_of_flax(shape):
    key = jax.random.key(3)
    found = np.asarray(orthogonal(0.5)(key, shape))
    expected = nn.initializers.orthogonal(0.5)(key, shape)
    np.testing.assert_allclose(found, expected, atol=2e-6)
    of_fewer = found if shape[0] < shape[1] else found.T
    np.testing.assert_allclose(of_fewer @ of_fewer.T, 0.25 * np.eye(min(shape)), atol=1e-6)
