"""The record of training on the host: metrics, progress, and where a member diverged.

What happens when a member diverges is decided by a `training.state.Policy`.
"""

import collections
import dataclasses
import time
from collections.abc import Mapping

import jax
import numpy as np

from mecheval_jax.array_types import PyTree
from mecheval_jax.partitioning.multihost import fetch
from mecheval_jax.training.callbacks import Callbacks, Standing
from mecheval_jax.training.checkpoints import Checkpoints
from mecheval_jax.training.members import Ensemble
from mecheval_jax.training.state import NEVER, Diverged, Policy


@dataclasses.dataclass(frozen=True)
class Dispatched:
    """A stretch of steps that is under way on the devices.

    Attributes:
        stop: Step at which it ends.
        flags: Progress of every member at that step, as `training.state.flags_of` gives it.
        metrics: Loss and accuracy of every step [member, step]; [step] of a single run.
        scores: Loss and accuracy on dev documents [member], or [] of a single run; None if the
            stretch ends without an evaluation.
    """

    stop: int
    flags: PyTree
    metrics: PyTree
    scores: PyTree | None


class Ledger:
    """Record of an ensemble on the host, which tells callbacks of every entry.

    Args:
        ensemble: The runs.
        flags: Progress of every member at the start, as `training.state.flags_of` gives it.
        callbacks: Callbacks that are told of metrics and progress.
        policy: Policy for members that diverge.
        checkpoints: Checkpoints of the ensemble; an error names the last good one.
    """

    def __init__(
        self,
        ensemble: Ensemble,
        flags: PyTree,
        callbacks: Callbacks,
        policy: Policy,
        checkpoints: Checkpoints,
    ):
        self._ensemble, self._callbacks = ensemble, callbacks
        self._policy, self._checkpoints = policy, checkpoints
        # Metrics of each member since its last row. A stretch ends where any member stops, but a
        # member gets a row only where it would stop if it were trained alone.
        self._since = [collections.defaultdict(list) for _ in ensemble.runs]
        self._flags = self._own(fetch(flags))
        self._clock = time.monotonic()
        self._tell(0, 0.0)

    def _own(self, tree: PyTree) -> PyTree:
        """The tree without the members that only fill devices up."""
        return {name: leaf[: len(self._ensemble.runs)] for name, leaf in tree.items()}

    @property
    def learns(self) -> bool:
        """Whether any member has steps left to take."""
        return bool(self._flags["learns"].any())

    def settle(self, stretch: Dispatched | None) -> None:
        """Wait for a stretch of steps, if there is one, and record it.

        Raises:
            Diverged: If a member diverged, and the policy is to raise.
        """
        if stretch is None:
            return
        flags, metrics, scores = fetch((stretch.flags, stretch.metrics, stretch.scores))
        metrics = jax.tree.map(np.atleast_2d, metrics)
        scores = jax.tree.map(np.atleast_1d, scores)
        before, self._flags = self._flags["step"], self._own(flags)
        taken = self._flags["step"] - before
        # A member that diverged in its first step here has the row of the steps before left.
        left = np.array([bool(rows) for rows in self._since]) & ~self._flags["learns"]
        for i in map(int, np.flatnonzero((taken > 0) | left)):
            run, learns = self._ensemble.runs[i], self._flags["learns"][i]
            losses = metrics["loss"][i, : taken[i]]
            bad = np.flatnonzero(~np.isfinite(losses))
            if len(bad):  # of a run that raises: a frozen member does not count this step as taken
                raise self.diverged(before[i] + bad[0], f"the loss is {losses[bad[0]]}", i)
            for name, of in metrics.items():
                self._since[i][name].append(of[i, : taken[i]])
            if learns and not run.is_stop(stretch.stop):
                continue
            row = {name: np.concatenate(of).mean() for name, of in self._since[i].items()}
            self._since[i].clear()
            self._record(i, "train", row)
            if scores is not None and run.is_evaluation(stretch.stop):
                self._record_scores(i, {name: of[i] for name, of in scores.items()})
        now = time.monotonic()
        seconds, self._clock = now - self._clock, now
        self._tell(int(taken.sum()), seconds)

    def _record_scores(self, member: int, scores: Mapping[str, np.floating]) -> None:
        at = self._flags["diverged_at"][member]
        if at == NEVER:
            self._record(member, "dev", scores)
        elif self._policy is Policy.RAISE:
            raise self.diverged(at, f"the loss on dev documents is {scores['loss']}", member)

    def diverged(self, step: int | np.integer, what: str, member: int = 0) -> Diverged:
        """The error that says where and how a member diverged."""
        last_good = max(self._checkpoints.steps(), default=None)
        return Diverged(int(step), what, self._ensemble.runs[member].learning_rate, last_good)

    def _record(self, member: int, split: str, row: Mapping[str, np.floating]) -> None:
        place = {"step": int(self._flags["step"][member]), "split": split, "member": member}
        self._callbacks.record({**place, **{name: float(value) for name, value in row.items()}})

    def _tell(self, taken: int, seconds: float) -> None:
        steps, *others = (self._flags[n] for n in ("step", "diverged_at", "stopped_at", "learns"))
        # Not the end of the stretch: where all members have diverged, none has come that far.
        self._callbacks.advance(Standing(int(steps.max()), *others, taken, seconds))
