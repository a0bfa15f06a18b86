"""Many runs of one shape, trained together to their ends.

A group goes on until its last member is done, resumes from one checkpoint, and gives each member
the numbers that the same run has when it is trained alone, to rounding.
"""

import collections
import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from mecheval_jax.array_types import PyTree
from mecheval_jax.training.ensemble.group import Group, development_documents
from mecheval_jax.training.ensemble.members import NEVER, Member
from mecheval_jax.training.ensemble.mesh import place
from mecheval_jax.training.ensemble.programs import HostSteps, Programs
from mecheval_jax.training.ensemble.strategies import Strategy
from mecheval_jax.training.intervals import is_evaluation, is_stop


@runtime_checkable
class SweepHooks(Protocol):
    """Receives what happens to a group, in order."""

    def record(self, values: Mapping[str, float | int | str]) -> None:
        """A row of metrics of one ``member``; it has ``step`` and ``split``, too."""
        ...

    def advance(self, standing: "Standing") -> None:
        """How the group is doing."""
        ...

    def say(self, message: str) -> None:
        """Something the user should read."""
        ...


@dataclasses.dataclass(frozen=True)
class Standing:
    """How a group is doing at a stop.

    Attributes:
        step: of those members that are furthest.
        steps: [member] steps that each has taken.
        diverged_at, stopped_at: [member], `NEVER` where it did not.
        training: how many still learn.
        taken: steps of all members since the stop before.
        seconds: since then.
    """

    step: int
    steps: np.ndarray
    diverged_at: np.ndarray
    stopped_at: np.ndarray
    training: int
    taken: int
    seconds: float


def saved_part(members: Member) -> dict[str, Any]:
    """What a checkpoint of a group holds; all else follows from the config."""
    state = members.state
    return {
        "step": state.step,
        "params": state.params,
        "moments": state.moments,
        "diverged_at": members.diverged_at,
        "stopped_at": members.stopped_at,
    }


def restored(members: Member, saved: Mapping[str, Any]) -> Member:
    """Members with what a checkpoint held."""
    state = members.state.replace(**{name: saved[name] for name in ("step", "params", "moments")})
    return Member(state, saved["diverged_at"], saved["stopped_at"])


@jax.jit
def _standing(members: Member):
    """Copies of what the host wants to know; the members' own buffers are donated."""
    state = members.state
    flags = (state.step, members.diverged_at, members.stopped_at, members.training)
    return jax.tree.map(jnp.copy, flags)


def fit_group(
    programs: Programs,
    strategy: Strategy,
    members: Member,
    fetch: Callable[[PyTree], PyTree],
    save: Callable[[int, Member], None],
    leave_at: Callable[[int], bool],
    hooks: SweepHooks,
) -> Member:
    """Train until no member learns any more, or until it is time to leave.

    Metrics of a stretch are fetched after the next one is dispatched, so that the devices do not
    wait for the host.

    Args:
        programs: of the group.
        strategy: how members are computed.
        members: new or restored.
        fetch: global arrays -> arrays of the host, on every process.
        save: (step, members); called at every interval, at the end and before leaving.
        leave_at: step -> whether training shall end there, to be gone on with later.
        hooks: who is told.
    """
    group = programs.group
    every = group.training.checkpoint_every
    run = programs.steps(strategy) if group.task.traceable else HostSteps(programs, strategy)
    evaluate = programs.evaluate(strategy)
    documents = place(development_documents(group), programs.mesh)
    ledger = _Ledger(group, fetch(_standing(members)), fetch, hooks)
    ledger.tell(ledger.step, 0, 0.0)
    step, saved = ledger.step, ledger.step
    pending = None
    while ledger.learning:
        stop = group.next_stop(step)
        members, metrics = run(members, np.int32(step), np.int32(stop))
        scores = None
        if group.is_evaluated_at(stop):
            members, scores = evaluate(members, documents)
        under_way = (stop, _standing(members), metrics, scores)
        if pending is not None:
            ledger.settle(*pending)
        pending, step = under_way, stop
        # Not where a shorter run ends: rows of the others would be cut there.
        leave = is_stop(step, group.training) and leave_at(step)
        if leave or step % every == 0 or step >= group.training.steps:
            ledger.settle(*pending)
            pending = None
            save(step, members)
            saved = step
        if leave:
            return members
    if pending is not None:  # nothing was left to do in it
        ledger.settle(*pending)
    if saved != step:
        save(step, members)
    return members


class _Ledger:
    """What is known of a group on the host, stretch by stretch."""

    def __init__(self, group: Group, standing, fetch, hooks: SweepHooks):
        self._group, self._fetch, self._hooks = group, fetch, hooks
        self._count = len(group.runs)
        # Stretches end where any member stops; each has its rows where it would stop alone.
        self._since = [collections.defaultdict(list) for _ in group.runs]
        self._note(standing)
        self.step = int(self._steps.max())
        self._clock = time.monotonic()

    def _note(self, standing) -> None:
        own = (values[: self._count] for values in standing)
        self._steps, self._diverged_at, self._stopped_at, self._learning = own

    @property
    def learning(self) -> bool:
        """Whether any member still learns."""
        return bool(self._learning.any())

    def tell(self, step: int, taken: int, seconds: float) -> None:
        """Say how the group is doing at a stop."""
        training = int(self._learning.sum())
        ends = (self._diverged_at, self._stopped_at)
        self._hooks.advance(Standing(step, self._steps, *ends, training, taken, seconds))

    def settle(self, stop: int, standing: PyTree, metrics: PyTree, scores: PyTree | None) -> None:
        """Record a stretch, once the devices are through with it."""
        standing, metrics, scores = self._fetch((standing, metrics, scores))
        before = self._steps
        self._note(standing)
        taken = self._steps - before
        for i in np.flatnonzero(taken):
            for name, of in metrics.items():
                self._since[i][name].append(of[i, : taken[i]])
            if self._learning[i] and not is_stop(stop, self._group.runs[i]):
                continue
            row = {name: np.concatenate(of).mean() for name, of in self._since[i].items()}
            self._since[i].clear()
            self._record(i, "train", row)
            fine = self._diverged_at[i] == NEVER
            if scores and fine and is_evaluation(stop, self._group.runs[i]):
                self._record(i, "dev", {name: of[i] for name, of in scores.items()})
        now = time.monotonic()
        seconds, self._clock = now - self._clock, now
        self.tell(stop, int(taken.sum()), seconds)

    def _record(self, member, split: str, row: Mapping[str, np.floating]) -> None:
        place = {"step": int(self._steps[member]), "split": split, "member": int(member)}
        self._hooks.record({**place, **{name: float(value) for name, value in row.items()}})
