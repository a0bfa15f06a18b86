"""Mixers of one's own are tried before they are trained: each promise that one can break."""

import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.mixers import ARCHITECTURES, MixerContext, build_mixer
from mecheval_jax.models import own_mixers
from mecheval_jax.models.language_model import ModelConfig
from mecheval_jax.models.own_mixers import check_mixer, check_own_mixers
from mecheval_jax.sites import ALL
from tests.support import broken_mixers
from tests.support.broken_mixers import (
    AcrossDocuments,
    Bare,
    Deaf,
    Declared,
    Dividing,
    Fading,
    Failing,
    Flat,
    Foreseeing,
    Forgetful,
    Forgetting,
    Headless,
    Infinite,
    Large,
    LargeLasting,
    Lasting,
    LateLeaking,
    Leaking,
    Lengthless,
    Limited,
    Paired,
    Random,
    Shifting,
    Silent,
    Talking,
    Twice,
    Weighing,
    Wide,
)

MODULE, WIDTH = broken_mixers.__name__, 8


def test_a_mixer_that_keeps_all_promises():
    """Catches a check that refuses a good mixer."""
    check_mixer(Fading(WIDTH), WIDTH)
    check_mixer(Bare(), WIDTH)
    check_mixer(Large(WIDTH), WIDTH)
    check_mixer(Forgetting(WIDTH), WIDTH)
    check_mixer(Limited(WIDTH), WIDTH)


def test_as_many_channels_as_tokens():
    """Catches sites that count as attention's weights, and are not looked at, by chance."""
    with pytest.raises(UserError, match="'shifted' mixes 1 earlier tokens"):
        check_mixer(Declared(16, {}), 16, 16)
    with pytest.raises(UserError, match="says that 'shifted' mixes 2 earlier tokens"):
        check_mixer(Weighing(16, 2), 16, 16)
    for length in (15, 16):
        check_mixer(Weighing(16), 16, length)


@pytest.mark.parametrize("length", [1, 2])
def test_documents_of_a_token_or_two(length):
    """Catches a check that replaces the last state, which no token goes on from."""
    check_mixer(Fading(WIDTH), WIDTH, length)


@pytest.mark.parametrize(
    ("mixer", "message"),
    [
        (Foreseeing, "theirs: not causal: its outputs up to token 0 change"),
        (Deaf, r"theirs: gives \[2, 129, 8\] at positions \[2, 2\].*at_positions"),
        (Wide, r"theirs: gives \[2, 129, 9\] for inputs .* \[2, 129, 8\]"),
        (Infinite, "theirs: its outputs are not finite"),
        (Forgetful, "theirs: step gives another output than __call__ at token 1"),
        (Lasting, "theirs: later tokens do not go on from a replaced 'state'"),
        (LargeLasting, "theirs: later tokens do not go on from a replaced 'state'"),
        (Twice, "theirs: .*the site write is called 2 times"),
        (Talking, "theirs: TypeError: .*step\\(state, x_t\\) -> \\(state, y_t\\)"),
        (Dividing, "theirs: (TypeCheckError|gives .* at positions)"),
        (Paired, "theirs: (.*TypeCheckError|the site 'state' is a tuple for inputs .*sites are)"),
        (Flat, r"theirs: the site 'state' is \[2\] .*sites are \[batch, length"),
        (Failing, r"theirs: broken_mixers.py, line \d+: TypeError: "),
        (Silent, "theirs: not causal: its outputs up to token 0 change"),
        (Leaking, "theirs: not causal: its outputs up to token 0 change"),
        (LateLeaking, "theirs: not causal: its outputs up to token 63 change"),
        (AcrossDocuments, "theirs: its outputs for a document change with the other documents"),
        (Random, "theirs: gives other outputs for the same inputs a second time"),
        (Lengthless, r"theirs: .*initial_state\(batch, max_length\) -> state"),
    ],
)
def test_a_promise_that_is_broken(mixer, message):
    """Catches a mixer that is trained and judged by a rule that does not hold of it."""
    with pytest.raises(UserError, match=message):
        check_mixer(mixer(WIDTH), WIDTH, name="theirs")


def test_half_a_recurrent_form():
    """Catches a mixer that is taken for one that cannot generate, because a name is misspelt."""
    with pytest.raises(UserError, match="has initial_state without step: generation needs"):
        check_mixer(Headless(), WIDTH, name="theirs")


@pytest.mark.parametrize(
    ("reach", "message"),
    [
        ({}, "'shifted' mixes 1 earlier tokens .*names neither it nor a site before it"),
        ({"shifted": 0}, "'shifted' mixes 1 earlier tokens .*names neither"),
        ({"write": 1}, "'shifted' mixes 1 earlier tokens .*names neither"),
        ({"shifted": 2}, "says that 'shifted' mixes 2 earlier tokens .*, but it mixes 1"),
        ({"shifted": ALL}, "says that 'shifted' mixes all .*, but it mixes 1"),
        ({"shifted": 1, "state": 1}, "says that 'state' mixes 1 .*, but it mixes all"),
        ({"shift": 1}, r"names 'shift': its sites are shifted, write, state"),
        (1, r"of Declared gives 1: it takes the name of a site to a whole number"),
        ({"shifted": "1"}, r"gives \{'shifted': '1'\}: it takes the name"),
        ({"shifted": 1.5}, r"gives \{'shifted': 1.5\}: it takes the name"),
        ({"shifted": -1}, r"gives \{'shifted': -1\}: it takes the name"),
        ({"shifted": True}, r"gives \{'shifted': True\}: it takes the name"),
    ],
)
def test_a_reach_that_is_wrong(reach, message):
    """Catches a verdict that looks for pairs in other places than where a mixer binds them."""
    with pytest.raises(UserError, match="theirs: .*" + message):
        check_mixer(Declared(WIDTH, reach), WIDTH, 24, name="theirs")


def test_a_reach_behind_no_site():
    """Catches a convolution that nothing names, since no site lies behind it."""
    with pytest.raises(UserError, match=r"its outputs mix 1 earlier tokens .* through a Site"):
        check_mixer(Shifting(), WIDTH, name="theirs")


def test_it_is_tried_once_and_built_in_ones_never(monkeypatch):
    """Catches a check that a sweep pays for in every group, and one of what tests know."""
    tried = []
    monkeypatch.setattr(own_mixers, "check_mixer", lambda mixer, *_: tried.append(mixer))
    monkeypatch.setattr(own_mixers, "_passed", set())
    shape = {"layers": 2, "width": WIDTH, "vocabulary_size": 9, "max_length": 16}
    for mixer in (
        "mamba",
        f"{MODULE}:Fading",
        f"{MODULE}:Fading,attention",
    ):
        check_own_mixers(ModelConfig(mixer, **shape))
    assert tried == [Fading(WIDTH)]


@pytest.mark.parametrize("options", [{}, {"decay": [0.5, 0.4]}])
def test_each_layer_that_differs_is_tried(options):
    """Catches a mixer that is tried as it is in the first layer, and trained in others."""
    mixer = f"{MODULE}:{'Optional' if options else 'Layered'}"
    shape = {"layers": 2, "width": WIDTH, "vocabulary_size": 9, "max_length": 16}
    with pytest.raises(UserError, match=r"\(layer 1\): step gives another output"):
        check_own_mixers(ModelConfig(mixer, **shape, mixer_options=options))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_built_in_mixer_would_pass(name):
    """Catches a check that asks for more than the package's own mixers keep."""
    mixer = build_mixer(name, MixerContext(layer=0, layers=2, width=32, max_length=160))
    check_mixer(mixer, 32)
