"""Mixers of one's own: one that keeps every promise of a mixer, and others that break one each."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from mecheval_jax.ops.linear_recurrence import linear_recurrence
from mecheval_jax.ops.positions import at_positions
from mecheval_jax.sites import Site


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
