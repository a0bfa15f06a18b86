"""Check that mixers of one's own keep what everything else rests on (`mecheval_jax.mixers`).

Built-in mixers are tested. One that a config names as ``module:Class`` is tried on two short
documents of random vectors before its training begins:

    outputs      [batch, length, width], finite, the same a second time, and at given positions the
                 same as at all
    causality    no output depends on a later token, or on another document
    recurrence   `step` gives what `__call__` gives, if there are `initial_state` and `step`
    sites        each is called once and is [batch, length, ...]; later tokens go on from a
                 replaced ``state``; each mixes in as many earlier tokens as `local_reach` says

Initial parameters hide much: a projection that begins at 0 makes every mixer causal. All are moved
by about a tenth first.
"""

import functools
import pathlib
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import unflatten_dict

from mecheval_jax.array_types import Array, PyTree
from mecheval_jax.errors import UserError
from mecheval_jax.mixers.options import is_built_in
from mecheval_jax.models.language_model import ModelConfig
from mecheval_jax.models.local_mixing import OUTPUTS, wrong_reach
from mecheval_jax.ops.positions import at_positions
from mecheval_jax.sites import INTERVENTIONS, apply_captured, hands_on, is_state, reach_of

DOCUMENTS, LENGTH = 2, 129
"""Size of what a mixer is tried on, at most: longer than two chunks of 64 tokens."""

CUTS = (*range(12), *(border + i for border in (16, 32, 64, 96, 128) for i in (-1, 0, 1)))
"""Tokens behind which all are changed: the first ones, and those around borders of chunks."""

NOISE = 0.1
"""Share by which parameters are moved; those that are 0 get as much itself."""

TOLERANCE = 1e-3
"""Greatest difference that counts as rounding between two ways to compute the same, beside the
largest number there is."""

LEAK = 1e-5
"""The same within one program, where only a Fourier transform rounds another way."""

REPLACED = 4.0
"""What is added to a state, in multiples of the largest one."""

ROUNDING = 1e-5
"""Greatest difference of equal states in two programs, beside the largest one; of a state that was
replaced less than `TOLERANCE` may be left one token later."""

RECURRENT = ("initial_state", "step")
"""Methods of a mixer that computes token by token."""

CALLS = ("initial_state(batch, max_length) -> state", "step(state, x_t) -> (state, y_t)")
"""How they are called, with x_t and y_t [batch, width]."""

_passed: set[str] = set()
"""Mixers that were found good, so that groups of a sweep do not try one again."""


def check_own_mixers(config: ModelConfig) -> None:
    """Check the mixers of a model that are not this package's.

    Layers whose mixers are equal are tried once; options may differ by layer, and a class that has
    the field `layer` may do in one what it does in no other.

    Raises:
        UserError: If one does not keep what a mixer promises; the message names it, and what.
    """
    length = min(LENGTH, config.max_length)
    for layer, mixer in enumerate(map(config.build_mixer, range(config.layers))):
        name = f"{type(mixer).__module__}:{type(mixer).__name__}"
        case = f"{name} {mixer} {config.width} {length}"
        if case not in _passed and not is_built_in(type(mixer)):
            check_mixer(mixer, config.width, length, f"model.mixer {name!r} (layer {layer})")
            _passed.add(case)


def check_mixer(mixer: nn.Module, width: int, length: int = LENGTH, name: str = "mixer") -> None:
    """Check that a mixer keeps what a mixer promises.

    Args:
        mixer: The mixer, unbound.
        width: Number of channels of its inputs and outputs.
        length: Number of tokens that it is tried on.
        name: Its name in messages.

    Raises:
        UserError: If it does not.
    """
    tried = _Tried(mixer, name, _vectors(1, (DOCUMENTS, length, width)))
    tried.check_outputs()
    tried.check_causality()
    tried.check_positions()
    tried.check_sites()
    tried.check_reach()
    if not hands_on(type(mixer)):
        tried.check_recurrence()


class _Tried:
    """A mixer with parameters near its initial ones, and its outputs on some documents.

    Attributes:
        mixer: The mixer.
        name: Its name in messages.
        x: Inputs, [documents, length, width].
        params: Its variables.
        y: Its outputs.
        seen: Activations at its sites by path, in the order of computation.
    """

    def __init__(self, mixer: nn.Module, name: str, x: np.ndarray):
        self.mixer, self.name, self.x = mixer, name, x
        variables = self._own(lambda: jax.jit(mixer.init)(jax.random.key(0), x))
        initial = {"params": variables.get("params", {})}
        order: list[str] = []

        def run(
            params: PyTree, x: Array, values: dict[str, Array]
        ) -> tuple[Array, dict[str, Array]]:
            entries = unflatten_dict(values, sep="/")
            found = params | ({INTERVENTIONS: entries} if entries else {})
            y, seen = apply_captured(self.mixer, found, x)
            order[:] = seen  # a compiled program gives them by name
            return y, seen

        self._run = jax.jit(run)
        # A parameter may have limits of its own, so that it cannot be moved.
        for self.params in (_moved(initial), initial):
            self.y, seen = self.captured(x)
            self._check_array(self.y)
            if bool(jnp.isfinite(self.y).all()):
                break
        self.seen = {path: seen[path] for path in order}

    def captured(
        self, x: np.ndarray, values: Mapping[str, Array] | None = None
    ) -> tuple[Array, dict[str, Array]]:
        """Outputs and activations for inputs, with leaves of entries by path."""
        return self._own(lambda: self._run(self.params, x, dict(values or {})))

    def _own(self, call: Callable[[], Any]) -> Any:
        """The result of a call of the mixer's own code.

        Raises:
            UserError: If that raises anything; the message has its place in the user's file.
        """
        try:
            return call()
        except Exception as error:
            raise UserError(f"{self.name}: {_described(error, type(self.mixer))}") from error

    def _fail(self, reason: str) -> None:
        raise UserError(f"{self.name}: {reason}")

    def _apply(self, x: Array | np.ndarray, positions: Array | None = None) -> Array:
        return self.mixer.apply(self.params, jnp.asarray(x), positions)

    def _are_equal(
        self, a: Array | np.ndarray, b: Array | np.ndarray, tolerance: float = TOLERANCE
    ) -> bool:
        largest = max(np.abs(a).max(initial=0), np.abs(b).max(initial=0))
        return np.allclose(a, b, rtol=0, atol=tolerance * largest)

    def _check_array(self, outputs: Any, where: str = "") -> None:
        if not isinstance(outputs, jax.Array):
            self._fail(f"gives a {type(outputs).__name__}{where}: a mixer gives an array alone")

    def check_outputs(self) -> None:
        """Shape, and that all are finite."""
        self._check_array(self.y)
        if self.y.shape != self.x.shape:
            self._fail(
                f"gives {list(self.y.shape)} for inputs [batch, length, width] = "
                f"{list(self.x.shape)}: a mixer gives back their shape"
            )
        if not bool(jnp.isfinite(self.y).all()):
            self._fail("its outputs are not finite, with its initial parameters")

    def check_positions(self) -> None:
        """Outputs at positions are those at all tokens, taken there."""
        last = self.x.shape[1] - 1
        positions = jnp.tile(jnp.array([[last // 2, last]]), (DOCUMENTS, 1))
        some = self._own(jax.jit(lambda: self._apply(self.x, positions)))
        wanted = at_positions(self.y, positions)
        self._check_array(some, " at positions")
        if some.shape != wanted.shape or not self._are_equal(some, wanted):
            self._fail(
                f"gives {list(some.shape)} at positions {list(positions.shape)}, not its outputs "
                "there: end __call__ with mecheval_jax.ops.positions.at_positions(y, positions)"
            )

    def check_causality(self) -> None:
        """No output changes where later tokens or other documents do; none does by chance."""
        last = self.x.shape[1] - 1
        cuts = [cut for cut in CUTS if cut < last]
        other = _vectors(2, self.x.shape)
        tokens = np.arange(last + 1)[:, None]
        inputs = [np.where(tokens <= cut, self.x, other) for cut in cuts]
        inputs += [np.concatenate([self.x[:1], other[1:]]), self.x]
        outputs = self._own(
            lambda: jax.jit(lambda x: jax.lax.map(self._apply, x))(np.stack(inputs))
        )
        *until, beside, again = np.asarray(outputs)
        if not self._are_equal(again, self.y):
            self._fail(
                "gives other outputs for the same inputs a second time: a mixer draws nothing at "
                "random, and keeps nothing from one call to the next"
            )
        if not self._are_equal(beside[0], again[0], LEAK):
            self._fail(
                "its outputs for a document change with the other documents of the batch: each "
                "document is computed by itself"
            )
        for cut, changed in zip(cuts, until, strict=True):
            if not self._are_equal(changed[:, : cut + 1], again[:, : cut + 1], LEAK):
                self._fail(
                    f"not causal: its outputs up to token {cut} change with the tokens behind it"
                )

    def check_sites(self) -> None:
        """Sites have the axes of documents and tokens, and later tokens go on from a state."""
        for path, live in self.seen.items():
            is_array = isinstance(live, jax.Array)
            if not is_array or live.shape[:2] != self.x.shape[:2]:
                found = list(live.shape) if is_array else f"a {type(live).__name__}"
                self._fail(
                    f"the site {path!r} is {found} for inputs {list(self.x.shape)}: "
                    "sites are [batch, length, ...]"
                )
        for path, state in self.seen.items():
            if is_state(path):
                self._check_state(path, state)

    def check_reach(self) -> None:
        """Sites that `local_reach` names exist, and all mix in as many tokens as it says."""
        declared = self._own(lambda: reach_of(self.mixer))
        if declared is None:
            return
        for site in declared:
            if site not in self.seen:
                self._fail(
                    f"local_reach() names {site!r}: its sites are {', '.join(self.seen) or 'none'}"
                )
        if self.x.shape[1] < 3:  # too few tokens to change one that others follow
            return
        weights = self._weights()
        held = [path for path in self.seen if path in declared or is_state(path)]
        values = {f"{path}/value": self.seen[path] for path in held}

        def activations(x: np.ndarray, hold: bool) -> dict[str, Array]:
            y, seen = self.captured(x, values if hold else {})
            return {path: seen[path] for path in self.seen if path not in weights} | {OUTPUTS: y}

        if wrong := wrong_reach(declared, activations, self.x):
            self._fail(wrong)

    def _weights(self) -> set[str]:
        """Sites that are weights over the tokens, as attention has them: no values of a token.

        One of their axes is as long as the documents, and is so of shorter ones as well; that of a
        site with as many channels as there are tokens is not.
        """
        fewer = self.x[:, 1:]
        _, seen = self._own(lambda: jax.eval_shape(self._run, self.params, fewer, {}))
        lengths = (self.x.shape[1], fewer.shape[1])
        return {
            path
            for path, live in seen.items()
            if lengths in zip(self.seen[path].shape[2:], live.shape[2:], strict=False)
        }

    def _check_state(self, path: str, state: Array) -> None:
        token = (state.shape[1] - 1) // 2
        if token + 1 == state.shape[1]:  # nothing follows a document's only token
            return
        mask = (jnp.arange(state.shape[1]) == token).reshape(1, -1, *[1] * (state.ndim - 2))
        mask = jnp.broadcast_to(mask, (len(state), *mask.shape[1:]))
        # As large as the states are: beside 1e6 an added 1 is lost, and most of what is left of it.
        largest = float(np.abs(state).max(initial=0))
        moved = (state + REPLACED * (largest or 1.0)).astype(state.dtype)
        leaves = {f"{path}/value": moved, f"{path}/mask": mask}
        _, seen = self.captured(self.x, leaves)
        change = np.abs(seen[path][:, token + 1 :] - state[:, token + 1 :]).max()
        if change <= ROUNDING * largest:  # not of a state that has become infinite
            self._fail(
                f"later tokens do not go on from a replaced {path!r}: compute the states with the "
                f"site's entry, as linear_recurrence(decay, write, entry=site.checked_entry(write))"
                ", and give them to it by site(states, rewritten=True); or give the site another "
                "name"
            )

    def check_recurrence(self) -> None:
        """`step` gives what `__call__` gives, token by token, if there is one."""
        has = [hasattr(self.mixer, name) for name in RECURRENT]
        if not any(has):
            return
        if not all(has):
            here, absent = RECURRENT if has[0] else RECURRENT[::-1]
            self._fail(f"has {here} without {absent}: generation needs {' and '.join(CALLS)}")
        batch, length, width = self.x.shape

        def tokens() -> Array:
            step = functools.partial(self.mixer.apply, self.params, method="step")
            state = self.mixer.apply(self.params, batch, length, method="initial_state")
            outputs = jax.lax.scan(step, state, jnp.swapaxes(self.x, 0, 1))[1]
            return jnp.swapaxes(outputs, 0, 1)

        try:
            outputs = self._own(jax.jit(tokens))
        except UserError as error:
            raise UserError(f"{error} (called as {' and '.join(CALLS)})") from None
        if outputs.shape != self.y.shape:
            given = [len(outputs), *outputs.shape[2:]]
            self._fail(f"step gives {given} for a token [batch, width] = {[batch, width]}")
        for token in range(length):
            if not self._are_equal(outputs[:, : token + 1], self.y[:, : token + 1]):
                self._fail(f"step gives another output than __call__ at token {token}")


def _vectors(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def _moved(params: PyTree) -> PyTree:
    """Parameters whose every number is moved by a share of its own; zeros are moved away from 0."""
    random = np.random.default_rng(3)

    def moved(leaf: np.ndarray) -> Array:
        if jnp.issubdtype(leaf.dtype, jnp.inexact):
            noise = NOISE * random.standard_normal(leaf.shape)
            leaf = np.where(leaf == 0, noise, leaf * (1 + noise)).astype(leaf.dtype)
        return jnp.asarray(leaf)

    return jax.tree.map(moved, jax.device_get(params))


def _described(error: Exception, mixer: type) -> str:
    """What an exception of a user's own code says, with its place in the user's file."""
    file = getattr(sys.modules.get(mixer.__module__), "__file__", None) or ""
    places = [
        frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file
    ]
    where = f"{pathlib.Path(file).name}, line {places[-1].lineno}: " if places else ""
    (said, *_) = str(error).strip().splitlines() or [""]
    # What this package says of a mistake needs no name of an exception.
    return where + (said if isinstance(error, UserError) else f"{type(error).__name__}: {said}")
