"""Mixers of one's own are tried before they are trained: each promise that one can break."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.mixers import ARCHITECTURES, MixerContext, build_mixer
from mecheval_jax.models import own_mixers
from mecheval_jax.models.language_model import ModelConfig
from mecheval_jax.models.own_mixers import check_mixer, check_own_mixers
from mecheval_jax.ops.linear_recurrence import linear_recurrence
from mecheval_jax.ops.positions import at_positions
from mecheval_jax.sites import ALL, Site

WIDTH = 8


class Fading(nn.Module):
    """Keeps every promise; each class below breaks one."""

    width: int

    def setup(self):
        self.value = nn.Dense(self.width)
        self.out = nn.Dense(self.width, kernel_init=self.first())
        self.write, self.shifted, self.state = Site(), Site(), Site()

    def first(self):
        return nn.initializers.lecun_normal()

    def local_reach(self) -> Any:
        return {"shifted": 1}

    def before(self, x):
        return jnp.pad(x, ((0, 0), (1, 0), (0, 0)))[:, :-1]

    def states(self, write):
        decay = jnp.full(write.shape, 0.5)
        entry = self.state.checked_entry(write)
        return self.state(linear_recurrence(decay, write, entry=entry), rewritten=True)

    def __call__(self, x, positions=None):
        write = self.write(self.value(x + self.shifted(self.before(x))))
        return self.ends(self.out(self.states(write)), positions)

    def ends(self, y, positions):
        return at_positions(y, positions)

    def initial_state(self, batch, max_length):
        return jnp.zeros((batch, self.width)), jnp.zeros((batch, self.width))

    def step(self, state, x_t):
        previous, past = state
        past = self.decayed(past) + self.value(x_t + previous)
        return (x_t, past), self.out(past)

    def decayed(self, past):
        return 0.5 * past


class Foreseeing(Fading):
    def before(self, x):
        return jnp.roll(x, -1, axis=1)


class Deaf(Fading):
    def ends(self, y, positions):
        return y


class Wide(Fading):
    def ends(self, y, positions):
        return at_positions(jnp.concatenate([y, y[..., :1]], axis=-1), positions)


class Infinite(Fading):
    def ends(self, y, positions):
        return at_positions(y / 0, positions)


class Forgetful(Fading):
    def decayed(self, past):
        return 0.4 * past


class Lasting(Fading):
    def states(self, write):
        return self.state(linear_recurrence(jnp.full(write.shape, 0.5), write))


class Declared(Fading):
    """Declares what it is given, rightly or not."""

    reach: Any = None

    def local_reach(self):
        return self.reach


class Silent(Foreseeing):
    """Begins with outputs of 0, which depend on nothing."""

    def first(self):
        return nn.initializers.zeros


class Leaking(Fading):
    def ends(self, y, positions):
        return at_positions(y + 1e-4 * jnp.roll(y, -1, axis=1), positions)


class LateLeaking(Fading):
    """Sees one token ahead, at the last token of its first chunk of 64."""

    def ends(self, y, positions):
        if y.shape[1] > 64:
            y = y.at[:, 63].add(y[:, 64])
        return at_positions(y, positions)


class AcrossDocuments(Fading):
    def ends(self, y, positions):
        return at_positions(y - y.mean(axis=0, keepdims=True), positions)


class Random(Fading):
    def ends(self, y, positions):
        return at_positions(y * np.random.default_rng().uniform(), positions)


class Headless(nn.Module):
    """Has only one of the two methods of a recurrent form."""

    def __call__(self, x, positions=None):
        return at_positions(x, positions)

    def initial_state(self, batch, max_length):
        return jnp.zeros((batch, 1))


class Lengthless(Fading):
    def initial_state(self, batch):
        return super().initial_state(batch, 0)


class Shifting(nn.Module):
    """Mixes the token before in, behind no site."""

    def local_reach(self):
        return {}

    def __call__(self, x, positions=None):
        y = x.at[:, 1:].add(x[:, :-1])
        return at_positions(y, positions)


class Forgetting(Fading):
    """A state by another name that keeps a twentieth, and no shift."""

    def local_reach(self):
        return {}

    def states(self, write):
        return self.shifted(linear_recurrence(jnp.full(write.shape, 0.05), write))

    def __call__(self, x, positions=None):
        return self.ends(self.out(self.states(self.write(self.value(x)))), positions)

    def step(self, state, x_t):
        past = 0.05 * state[1] + self.value(x_t)
        return (x_t, past), self.out(past)


class Limited(Fading):
    """Its parameter cannot be above 1, where it begins."""

    def setup(self):
        super().setup()
        self.share = self.param("share", nn.initializers.ones, ())

    def ends(self, y, positions):
        return at_positions(y + jnp.sqrt(1 - self.share**2), positions)

    def step(self, state, x_t):
        state, y = super().step(state, x_t)
        return state, y + jnp.sqrt(1 - self.share**2)


class Twice(Fading):
    def before(self, x):
        return self.write(jnp.pad(x, ((0, 0), (1, 0), (0, 0)))[:, :-1])


class Failing(Fading):
    def before(self, x):
        return x @ jnp.ones((7, 7))


class Talking(Fading):
    def step(self, *given):
        state, y = super().step(*given)
        return state, (y, y)


class Dividing(Fading):
    def __call__(self, x, positions=None):
        y = super().__call__(x, positions)
        return y if positions is None else (y, y)


class Flat(Fading):
    def states(self, write):
        self.state(write.mean(axis=(1, 2)))
        return write


class Large(Fading):
    """States that are far above 1, of which little is left one token later."""

    def states(self, write):
        decay = jnp.full(write.shape, 2e-4)
        write = 1e6 * write
        entry = self.state.checked_entry(write)
        states = self.state(linear_recurrence(decay, write, entry=entry), rewritten=True)
        return 1e-6 * states

    def decayed(self, past):
        return 2e-4 * past


class LargeLasting(Lasting):
    def states(self, write):
        return 1e-6 * super().states(1e6 * write)


class Paired(Fading):
    def states(self, write):
        return self.state((super().states(write), write))[0]


class Layered(Fading):
    """Breaks its promise in the second layer alone."""

    layer: int = 0

    def decayed(self, past):
        return (0.5 if self.layer == 0 else 0.4) * past


class Optional(Fading):
    """The same where an option says so."""

    decay: float = 0.5

    def decayed(self, past):
        return self.decay * past


class Weighing(nn.Module):
    """A mean of all tokens by weights at a site, as attention has them, with a hidden shift."""

    width: int
    reach: int = 1

    def setup(self):
        self.shifted, self.weights = Site(), Site()

    def local_reach(self):
        return {"shifted": self.reach}

    def __call__(self, x, positions=None):
        shifted = self.shifted(jnp.pad(x, ((0, 0), (1, 0), (0, 0)))[:, :-1])
        causal = jnp.tril(jnp.ones((x.shape[1], x.shape[1])))
        causal /= causal.sum(axis=1, keepdims=True)
        weights = self.weights(jnp.broadcast_to(causal, (len(x), *causal.shape)))
        return at_positions(weights @ shifted, positions)


class Bare(nn.Module):
    """No sites, no recurrent form, and nothing to learn."""

    def __call__(self, x, positions=None):
        return at_positions(jnp.cumsum(x, axis=1), positions)


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
        (Failing, r"theirs: test_own_mixers.py, line \d+: TypeError: "),
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
    for mixer in ("mamba", f"{__name__}:Fading", f"{__name__}:Fading,attention"):
        check_own_mixers(ModelConfig(mixer, **shape))
    assert tried == [Fading(WIDTH)]


@pytest.mark.parametrize("options", [{}, {"decay": [0.5, 0.4]}])
def test_each_layer_that_differs_is_tried(options):
    """Catches a mixer that is tried as it is in the first layer, and trained in others."""
    mixer = f"{__name__}:{'Optional' if options else 'Layered'}"
    shape = {"layers": 2, "width": WIDTH, "vocabulary_size": 9, "max_length": 16}
    with pytest.raises(UserError, match=r"\(layer 1\): step gives another output"):
        check_own_mixers(ModelConfig(mixer, **shape, mixer_options=options))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_built_in_mixer_would_pass(name):
    """Catches a check that asks for more than the package's own mixers keep."""
    mixer = build_mixer(name, MixerContext(layer=0, layers=2, width=32, max_length=160))
    check_mixer(mixer, 32)
