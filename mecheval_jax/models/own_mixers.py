"""Check that mixers of one's own keep what everything else rests on (`mecheval_jax.mixers`).

Built-in mixers are tested. One that a config names as ``module:Class`` is tried on two short
documents of random vectors before its training begins, with its initial parameters:

    outputs      [batch, length, width], finite, and at given positions the same as at all
    causality    no output depends on a later token
    recurrence   `step` gives what `__call__` gives, if there are `initial_state` and `step`
    sites        each is called once; those that `local_reach` names exist; later tokens go on from
                 a replaced ``state``
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
from mecheval_jax.ops.positions import at_positions
from mecheval_jax.sites import INTERVENTIONS, apply_captured, hands_on, is_state

DOCUMENTS, LENGTH = 2, 12
"""Size of what a mixer is tried on."""

TOLERANCE = 1e-3
"""Greatest difference that counts as rounding, beside the largest number there is."""

REPLACED = 4.0
"""What is added to a state, in multiples of the largest one."""

ROUNDING = 1e-5
"""Greatest difference of equal states in two programs, beside the largest one; of a state that was
replaced less than `TOLERANCE` may be left one token later."""

_passed: set[str] = set()
"""Mixers that were found good, so that groups of a sweep do not try one again."""


def check_own_mixers(config: ModelConfig) -> None:
    """Check the mixers of a model that are not this package's, one of each class.

    Raises:
        UserError: If one does not keep what a mixer promises; the message names it, and what.
    """
    mixers = [config.build_mixer(layer) for layer in reversed(range(config.layers))]
    first_of_class = {type(mixer): mixer for mixer in mixers if not is_built_in(type(mixer))}
    length = min(LENGTH, config.max_length)
    for kind, mixer in first_of_class.items():
        name = f"{kind.__module__}:{kind.__name__}"
        if (case := f"{name} {mixer} {config.width} {length}") not in _passed:
            check_mixer(mixer, config.width, length, f"model.mixer {name!r}")
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
    tried = _Tried(mixer, name, jax.random.normal(jax.random.key(1), (DOCUMENTS, length, width)))
    tried.check_outputs()
    tried.check_positions()
    tried.check_causality()
    tried.check_sites()
    if hasattr(mixer, "initial_state") and hasattr(mixer, "step") and not hands_on(type(mixer)):
        tried.check_recurrence()


class _Tried:
    """A mixer with initial parameters, and its outputs on some documents.

    Attributes:
        mixer: The mixer.
        name: Its name in messages.
        x: Inputs, [documents, length, width].
    """

    def __init__(self, mixer: nn.Module, name: str, x: Array):
        self.mixer, self.name, self.x = mixer, name, x
        variables = self._own(lambda: jax.jit(mixer.init)(jax.random.key(0), x))
        self.params = {"params": variables.get("params", {})}
        self.y, self.seen = self._own(jax.jit(lambda: self._captured({})))

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

    def _apply(self, x: Array, positions: Array | None = None) -> Array:
        return self.mixer.apply(self.params, x, positions)

    def _captured(self, entries: Mapping[str, PyTree]) -> tuple[Array, dict[str, Array]]:
        interventions = {INTERVENTIONS: entries} if entries else {}
        return apply_captured(self.mixer, self.params | interventions, self.x)

    def _are_equal(self, a: Array | np.ndarray, b: Array | np.ndarray) -> bool:
        largest = max(np.abs(a).max(initial=0), np.abs(b).max(initial=0))
        return np.allclose(a, b, rtol=0, atol=TOLERANCE * largest)

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
        """No output changes where later tokens do."""
        tokens = jnp.arange(self.x.shape[1])
        other = jax.random.normal(jax.random.key(2), self.x.shape)

        def until(token: Array) -> Array:
            return self._apply(jnp.where(tokens[:, None] <= token, self.x, other))

        outputs = np.asarray(self._own(lambda: jax.lax.map(until, tokens)))
        for token, changed in enumerate(outputs):
            if not self._are_equal(changed[:, : token + 1], self.y[:, : token + 1]):
                self._fail(
                    f"not causal: its outputs up to token {token} change with the tokens behind it"
                )

    def check_sites(self) -> None:
        """Sites that are named exist, and a state is one."""
        reach = self._own(lambda: getattr(self.mixer, "local_reach", dict)())
        if not isinstance(reach, Mapping):
            self._fail(f"local_reach() gives {reach!r}: it takes the name of a site to a number")
        for site in reach:
            if site not in self.seen:
                self._fail(
                    f"local_reach() names {site!r}: its sites are {', '.join(self.seen) or 'none'}"
                )
        for path, state in self.seen.items():
            if is_state(path):
                self._check_state(path, state)

    def _check_state(self, path: str, state: Array) -> None:
        if state.ndim < 2:
            self._fail(f"{path!r} is {list(state.shape)}: states are [batch, length, ...]")
        token = (state.shape[1] - 1) // 2
        if token + 1 == state.shape[1]:  # nothing follows a document's only token
            return
        mask = (jnp.arange(state.shape[1]) == token).reshape(1, -1, *[1] * (state.ndim - 2))
        mask = jnp.broadcast_to(mask, (len(state), *mask.shape[1:]))
        # As large as the states are: beside 1e6 an added 1 is lost, and most of what is left of it.
        largest = float(np.abs(state).max(initial=0))
        moved = (state + REPLACED * (largest or 1.0)).astype(state.dtype)
        entry = unflatten_dict({f"{path}/value": moved, f"{path}/mask": mask}, sep="/")
        _, seen = self._own(jax.jit(lambda: self._captured(entry)))
        change = np.abs(seen[path][:, token + 1 :] - state[:, token + 1 :]).max()
        if change <= ROUNDING * largest:  # not of a state that has become infinite
            self._fail(
                f"later tokens do not go on from a replaced {path!r}: compute the states with the "
                f"site's entry, as linear_recurrence(decay, write, entry=site.checked_entry(write))"
                ", and give them to it by site(states, rewritten=True); or give the site another "
                "name"
            )

    def check_recurrence(self) -> None:
        """`step` gives what `__call__` gives, token by token."""

        def tokens() -> Array:
            batch, length, _ = self.x.shape
            step = functools.partial(self.mixer.apply, self.params, method="step")
            state = self.mixer.apply(self.params, batch, length, method="initial_state")
            outputs = jax.lax.scan(step, state, jnp.swapaxes(self.x, 0, 1))[1]
            return jnp.swapaxes(outputs, 0, 1)

        outputs = self._own(jax.jit(tokens))
        if outputs.shape != self.y.shape:
            self._fail(f"step gives {list(outputs.shape[::2])} for a token [batch, width]")
        for token in range(self.x.shape[1]):
            if not self._are_equal(outputs[:, : token + 1], self.y[:, : token + 1]):
                self._fail(f"step gives another output than __call__ at token {token}")


def _described(error: Exception, mixer: type) -> str:
    """What an exception of a user's own code says, with its place in the user's file."""
    file = getattr(sys.modules.get(mixer.__module__), "__file__", None) or ""
    places = [
        frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file
    ]
    where = f"{pathlib.Path(file).name}, line {places[-1].lineno}: " if places else ""
    (said, *_) = str(error).strip().splitlines() or [""]
    return f"{where}{type(error).__name__}: {said}"
