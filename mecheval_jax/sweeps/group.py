"""One group of a sweep, from its first step to the verdicts on its members; resumable anywhere."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping

import jax
import numpy as np

from mecheval_jax.command_line import cache_folder
from mecheval_jax.console import say
from mecheval_jax.errors import Interrupted, Stopped, UserError, choose
from mecheval_jax.evaluation.accuracy import documents_of
from mecheval_jax.evaluation.verdict.measurement import Inquiry
from mecheval_jax.partitioning.multihost import fetch, is_multiprocess
from mecheval_jax.store.metrics import Writer, dev_rows, open_writers
from mecheval_jax.store.results import MemberResult, record_group
from mecheval_jax.store.sweep_folder import GroupFolder, GroupStatus
from mecheval_jax.store.trackers import check_trackers
from mecheval_jax.sweeps.plan import GroupPlan, shape_of
from mecheval_jax.training.checkpoints import Checkpoints
from mecheval_jax.training.ensemble.group import Group, stack
from mecheval_jax.training.ensemble.loop import Standing, fit_group, restored, saved_part
from mecheval_jax.training.ensemble.members import NEVER, Member, new_member
from mecheval_jax.training.ensemble.mesh import member_mesh, on_members, place
from mecheval_jax.training.ensemble.programs import Programs, choose_strategy
from mecheval_jax.training.ensemble.strategies import AUTO, KINDS, Choices, Strategy
from mecheval_jax.training.preemption import Preempted, Preemption

Show = Callable[[str, str, GroupStatus], None]
"""Takes a group's name, its title and how it is doing."""

EVENTS = ("diverged_at", "stopped_at")
"""What may end a member before its last step."""

SITES = {"full": None, "verdict": (), "none": ()}
"""The sites of the grid by what is measured of every member, of `store.sweep_folder.MEASURED`."""


@dataclasses.dataclass(frozen=True)
class Options:
    """How a group is computed; nothing of it changes what is found but for rounding.

    Attributes:
        strategy: of `strategies.KINDS`, or ``auto`` for the one that is found fastest.
        at_once: members that a device computes together; by its memory if None.
        interventions: of `SITES`.
        writers: of `store.trackers.TRACKERS`, which get the metrics beside the files.

    Raises:
        UserError: a value that cannot be, or a writer whose package is not installed.
    """

    strategy: str = AUTO
    at_once: int | None = None
    interventions: str = "full"
    writers: tuple[str, ...] = ()

    def __post_init__(self):
        choose("strategy", self.strategy, (AUTO, *KINDS))
        choose("interventions", self.interventions, SITES)
        check_trackers(self.writers)
        if self.at_once is not None and self.at_once < 1:
            raise UserError(f"members at once are {self.at_once}: at least 1")
        if self.at_once is not None and self.strategy not in (AUTO, "vmap"):
            raise UserError(
                f"{self.at_once} members at once are computed by vmap alone, not by the strategy "
                f"{self.strategy!r}"
            )


class _Hooks:
    """Writes what happens to the group's folder, and shows it."""

    def __init__(self, plan: GroupPlan, folder: GroupFolder, status: GroupStatus, show: Show):
        self._plan, self._folder, self._show = plan, folder, show
        self.status = status
        self.writer: Writer | None = None

    def record(self, values: Mapping[str, float | int | str]) -> None:
        if self.writer is not None:
            self.writer.write({**values, "member": self._plan.members[int(values["member"])]})
        if values["split"] == "dev":
            best = self.status.best_accuracy or 0.0
            self.status.best_accuracy = max(best, float(values["accuracy"]))

    def advance(self, standing: Standing) -> None:
        status = self.status
        status.step, status.training = standing.step, standing.training
        status.diverged = int((standing.diverged_at != NEVER).sum())
        status.stopped = int((standing.stopped_at != NEVER).sum())
        if standing.taken:  # not in a stretch in which nothing was left to do
            status.rate = standing.taken / max(standing.seconds, 1e-9)
        status.seconds += standing.seconds
        self.tell()

    def tell(self) -> None:
        """Write and show the status."""
        self._folder.write_status(self.status)
        self._show(self._folder.name, self._plan.title, self.status)

    def say(self, message: str) -> None:
        say(f"{self._folder.name}: {message}")


def run_group(
    plan: GroupPlan, folder: GroupFolder, options: Options, show: Show, preemption: Preemption
) -> None:
    """Train a group to its end and evaluate its members, on from wherever it stands.

    Args:
        plan: the group.
        folder: its files.
        options: how it is computed.
        show: told of every stop.
        preemption: asked at every stop whether to save and end there.

    Raises:
        UserError: more members than the devices have memory for, or documents without what
            interventions need.
        Interrupted: SIGTERM came; what was trained is saved.
    """
    if options.interventions != "none":
        plan.experiments[0].check_interventions()
    status = folder.read_status()
    status.state, status.error = "running", ""
    status.attempts += 1
    status.members = status.training = len(plan.members)
    status.steps = plan.steps
    hooks = _Hooks(plan, folder, status, show)
    hooks.tell()
    run = _GroupRun(plan, folder, options, hooks)
    try:
        members = run.train(preemption)
        run.conclude(members)
    except Interrupted:
        status.state = "preempted"
        hooks.tell()
        raise
    finally:
        run.checkpoints.close()
    status.state, status.measured = "finished", options.interventions
    hooks.tell()


class _GroupRun:
    """A group at work."""

    def __init__(self, plan: GroupPlan, folder: GroupFolder, options: Options, hooks: _Hooks):
        first = plan.experiments[0]
        self.plan, self.folder, self.options, self.hooks = plan, folder, options, hooks
        self.group = Group(first.model, first.task, tuple(e.training for e in plan.experiments))
        self.programs = Programs(self.group, member_mesh())
        keep = self.group.training.keep_checkpoints or None
        self.checkpoints = Checkpoints(folder.checkpoints, keep, any_length=True)

    def train(self, preemption: Preemption) -> Member:
        """Train all members to their ends.

        Raises:
            Interrupted: SIGTERM came; what was trained is saved.
        """
        strategy = self._strategy()
        if preemption.requested():  # compiling and measuring may have taken minutes
            raise Stopped
        members = self._restore_or_create()
        left_at: list[int] = []

        def save(step: int, members: Member) -> None:
            saved = saved_part(members)
            # Each process writes the members of its own devices. One on its own writes from the
            # host, where the copy costs the devices no memory.
            self.checkpoints.save(step, saved if is_multiprocess() else fetch(saved))

        def leave_at(step: int) -> bool:
            if preemption.requested():
                left_at.append(step)
            return bool(left_at)

        with contextlib.ExitStack() as stack:
            writers = open_writers(self.options.writers, self.folder.path, members=True)
            self.hooks.writer = stack.enter_context(writers)
            members = fit_group(self.programs, strategy, members, fetch, save, leave_at, self.hooks)
        if left_at:
            raise Preempted(left_at[0])
        return members

    def _strategy(self) -> Strategy:
        """The strategy that the group began with, or a new choice.

        Another would change its numbers by rounding, so that a resumed sweep were not the same.
        """
        say = self.hooks.say
        kept = self.folder.read_strategy()
        if kept is not None:
            self.programs.check(kept)  # there may be fewer devices than before
            say(f"members are computed by {kept}, as before")
            return kept
        device, model = jax.devices()[0], self.group.model
        shape = shape_of(self.plan.experiments[0])
        key = (
            f"{shape.fingerprint()} {model.mixer} width {model.width}, "
            f"{self.programs.on_each} members on each of {self.programs.mesh.size} "
            f"{device.platform} {device.device_kind}, jax {jax.__version__}"
        )
        choices = Choices(cache_folder() / "strategies.json")
        options = self.options
        chosen = choose_strategy(
            self.programs, choices, key, options.at_once, options.strategy, say
        )
        # Each process has measured for itself: the first decides.
        return self.folder.keep_strategy(chosen)

    def _restore_or_create(self) -> Member:
        """The members of the newest checkpoint that can be read, or new ones."""
        members = self.programs.create()
        any_before = bool(self.checkpoints.steps())
        saved = self.checkpoints.restore(saved_part(self.programs.abstract), self.hooks)
        step = 0
        if saved is None and any_before:
            self.hooks.say("no checkpoint can be read: starting anew")
        if saved is not None:
            step = int(np.max(fetch(saved["step"])))
            members = restored(members, saved)
            self.hooks.say(f"resuming at step {step}")
        self.folder.forget_after(step)
        dev = [row["accuracy"] for row in dev_rows(self.folder.metrics)]
        status = self.hooks.status
        status.step, status.best_accuracy = step, max(dev, default=None)
        return members

    def conclude(self, members: Member) -> None:
        """Answers, interventions and verdicts of all members, computed as one program."""
        experiments = self.plan.experiments
        verdict = self.options.interventions != "none"
        self.hooks.say(
            f"{'answers, interventions and verdicts' if verdict else 'answers'} of "
            f"{len(experiments)} members on {experiments[0].evaluation.documents} documents each"
        )
        by_seed = {e.training.data_seed: e for e in experiments}
        batches = self.group.batches(lambda seed: documents_of(by_seed[seed]))
        sites = SITES[self.options.interventions]
        asked = [
            Inquiry.of(experiment, batch, sites, verdict=verdict)
            for experiment, batch in zip(experiments, batches, strict=True)
        ]
        inquiry, samples = asked[0][0], [sample for _, sample in asked]

        def one(member):
            state, sample = member
            untrained = new_member(self.group.model, state.hyperparameters).state.params
            return inquiry.on_device(state.params, untrained, sample)

        program = jax.jit(on_members(one, self.programs.mesh, at_once=1))
        raw = fetch(program((members.state, place(stack(samples), self.programs.mesh))))
        ends = fetch((members.state.step, members.diverged_at, members.stopped_at))

        def results() -> Iterator[MemberResult]:
            for i, (number, experiment) in enumerate(
                zip(self.plan.members, experiments, strict=True)
            ):
                found = jax.tree.map(lambda leaf, i=i: leaf[i], raw)
                sample = samples[i]
                findings = inquiry.on_host(found, sample, experiment) if verdict else None
                step, *events = (int(values[i]) for values in ends)
                happened = {n: at for n, at in zip(EVENTS, events, strict=True) if at != NEVER}
                answers = found["answers"]
                yield MemberResult(
                    number, experiment, sample.batch, answers, findings, step, happened
                )

        record_group(self.folder, len(experiments), results())
