"""Options of mixers: values that cannot be."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from mecheval_jax import trust
from mecheval_jax.errors import UserError
from mecheval_jax.mixers import MixerContext, build_mixer
from mecheval_jax.mixers.options import checked, divisors_near
from mecheval_jax.models.language_model import LanguageModel, ModelConfig, initialize
from mecheval_jax.ops.positions import at_positions

SHAPE = {"layers": 2, "width": 32, "max_length": 32}


# Catches a value that fails deep inside Flax, after the run has begun.
@pytest.mark.parametrize(
    ("mixer", "options", "message"),
    [
        ("mamba", {"d_conv": -1}, "d_conv is -1: a whole number, at least 0"),
        ("mamba", {"d_state": 0}, "d_state is 0: a whole number, at least 1"),
        ("mamba", {"bias": 2}, "bias is 2: True or False"),
        ("mamba", {"scan_backend": 3}, "scan_backend is 3: it takes a name"),
        ("gated_attention", {"epsilon": 1e-320}, "epsilon is 1e-320: a positive number"),
        ("attention", {"heads": "two"}, "heads is 'two': it takes a number"),
        ("attention", {"rotary_share": -0.5}, "rotary_share is -0.5: a positive number"),
        ("base_conv", {"kernel": "long"}, "'long': at least 1 tap, or implicit or explicit"),
        ("base_conv", {"kernel": 0}, "kernel 0: at least 1 tap, or"),
        ("s4d", {"discretization": "euler"}, "unknown discretization 'euler'"),
        ("mamba", {"scan_backend": "cuda"}, "unknown scan_backend 'cuda'"),
        ("mamba2", {"backend": "associative"}, "unknown backend 'associative'"),
        ("mamba", {"d_state": float("nan")}, "d_state is nan: a whole number"),
        ("retnet", {"kernel": 4}, "RetNet has no short convolutions"),
        ("delta_net", {"negative_eigenvalues": 2}, "negative_eigenvalues is 2: True or False"),
        ("kda", {"heads": 5}, "key_share is 1: 32 channels.*5 heads"),
        ("attention", {"heads": 5}, r"heads is 5: width 32 .* 5 heads; it is by 2 or 4 or 8$"),
        ("mamba2", {"head_dim": 16, "groups": 3}, r"groups is 3: the 4 heads .* 1 or 2 or 4$"),
        ("gla", {"key_share": 1e-9}, r"key_share is 1e-09: 3.2e-08 channels.*at least 1"),
        ("gated_delta_product", {"steps": 0}, "steps is 0: a whole number, at least 1"),
        ("comba", {"forget_gate": False}, "has no option 'forget_gate'"),
        ("delta_net", {"gated": True}, "DeltaNet has no output gate"),
        ("attention", {"rotary_share": 2.0}, "rotary_share is 2.0: above 0 and at most 1"),
    ],
)
def test_wrong_values(mixer, options, message):
    with pytest.raises(UserError, match=message):
        ModelConfig(mixer, vocabulary_size=5, mixer_options=options, **SHAPE)


# Catches a width with some zeros too many, whose error waits for a thousand million divisions.
@pytest.mark.parametrize(
    ("number", "value", "nearest"),
    [
        (12, 5, "3 or 4 or 6"),
        (7, 3, "1 or 7"),
        (1, 2, "1"),
        (9, 4, "1 or 3 or 9"),
        (10**9, 3, "1 or 2 or 4"),
        (10**18, 7, "4 or 5 or 8"),
    ],
)
def test_divisors_that_are_named(number, value, nearest):
    assert divisors_near(number, value) == nearest


def test_a_default_can_be_written():
    """Catches a default of one mixer that another's fields forbid, in a hybrid of both."""
    config = ModelConfig("h3,mamba", vocabulary_size=5, mixer_options={"d_state": [0, 8]}, **SHAPE)
    assert [config.build_mixer(layer).d_state for layer in range(2)] == [0, 8]


class NamesItsPartMix(nn.Module):
    """A mixer with a part whose name RWKV-7 has for a method."""

    width: int

    def setup(self):
        self.mix = nn.Dense(self.width)

    def __call__(self, x, positions=None):
        return at_positions(self.mix(x), positions)


def test_a_part_named_mix_hands_nothing_on():
    """Catches a user's mixer that is taken for RWKV-7 by the name of a part."""
    config = ModelConfig(f"{__name__}:NamesItsPartMix", vocabulary_size=5, **SHAPE)
    trust.remember(config.mixer)
    params = initialize(config, jax.random.key(0))
    logits = LanguageModel(config).apply({"params": params}, jnp.zeros((1, 3), jnp.int32))
    assert logits.shape == (1, 3, 5)


# Catches a whole number written as 2.0, as JSON may, that Flax would choke on.
def test_whole_floats_are_numbers():
    assert build_mixer("mamba", MixerContext(0, **SHAPE), {"d_conv": 2.0}).d_conv == 2


# Catches a float that is written as a whole number, which devices take up to 32 bits alone.
def test_whole_numbers_are_floats():
    base = build_mixer("attention", MixerContext(0, **SHAPE), {"rotary_base": 10**10}).rotary_base
    assert (base, type(base)) == (1e10, float)


class HasOptions(nn.Module):
    """A mixer with options of every kind, some of which may be None."""

    width: int
    scale: float = 1.0
    limit: float | None = None
    taps: int | None = None
    how: str | None = None
    gated: bool | None = None


@pytest.mark.parametrize(
    ("option", "valid", "wrong", "message"),
    [
        ("scale", (-1.0, 0), None, "scale is None: a number"),
        ("limit", (None, -0.5, 2), "big", "limit is 'big': it takes a number"),
        ("limit", (), True, "limit is True: a number"),
        ("taps", (None, 0, 3), 2.5, "taps is 2.5: a whole number"),
        ("how", (None, "fast"), 3, "how is 3: it takes a name"),
        ("gated", (None, True), 1, "gated is 1: True or False"),
    ],
)
def test_options_of_a_mixer_of_ones_own(option, valid, wrong, message):
    """Catches options that are not checked because they may be None, and bounds of ours."""
    for value in valid:
        assert checked(option, value, HasOptions) == value
    with pytest.raises(UserError, match=message):
        checked(option, wrong, HasOptions)
