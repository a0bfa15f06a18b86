"""One group of a sweep: its training, then the verdicts on its members; resumable anywhere."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax

from mecheval_jax import machine
from mecheval_jax.console import say
from mecheval_jax.errors import Interrupted, Stopped, UserError, choose
from mecheval_jax.evaluation.subject import Subject, documents_of
from mecheval_jax.evaluation.verdict.measurement import (
    VerdictMeasurement,
    plan_verdict,
    sites_of_evidence,
    why_not_judged,
)
from mecheval_jax.partitioning.devices import device_name
from mecheval_jax.partitioning.multihost import fetch
from mecheval_jax.programs import command
from mecheval_jax.store.metrics import Writer, dev_rows, open_writers
from mecheval_jax.store.results import MemberResult, record_group
from mecheval_jax.store.sweep_folder import MEASURED, GroupFolder, GroupStatus
from mecheval_jax.store.trackers import check_trackers
from mecheval_jax.sweeps.plan import GroupPlan, shape_of
from mecheval_jax.training.callbacks import Pace, Standing
from mecheval_jax.training.checkpoints import Checkpoints
from mecheval_jax.training.ensemble.member_programs import MemberPrograms
from mecheval_jax.training.ensemble.mesh import member_mesh, on_members, shard_members
from mecheval_jax.training.ensemble.strategy import KINDS, Strategy
from mecheval_jax.training.ensemble.strategy_choice import AUTO, Choices, Memory, choose_strategy
from mecheval_jax.training.host_steps import are_in_parts
from mecheval_jax.training.loop import fit, restore_or_create
from mecheval_jax.training.members import Ensemble, stack
from mecheval_jax.training.preemption import Preemption
from mecheval_jax.training.state import NEVER, Policy, TrainState

Show = Callable[[str, str, GroupStatus], None]
"""Function that shows a group's name, its title and its status."""

EVENTS = ("diverged_at", "stopped_at")
"""Events that may end a member before its last step."""


@dataclasses.dataclass(frozen=True)
class Options:
    """How a group is computed; no option changes a result by more than rounding.

    Attributes:
        strategy: One of `strategy.KINDS`, or ``auto`` for the one that is measured to be fastest.
        at_once: Number of members that a device computes together; as many as fit if None.
        interventions: Level of measurement of every member, one of `store.sweep_folder.MEASURED`.
        writers: Names of trackers (`store.trackers.TRACKERS`) that get the metrics beside the
            files.
        further: Names of sites that the level ``full`` has, too, in mixers that have them.

    Raises:
        UserError: If a value is not possible, or the package of a writer is not installed.
    """

    strategy: str = AUTO
    at_once: int | None = None
    interventions: str = "full"
    writers: tuple[str, ...] = ()
    further: tuple[str, ...] = ()

    def __post_init__(self):
        choose("strategy", self.strategy, (AUTO, *KINDS))
        choose("interventions", self.interventions, MEASURED)
        check_trackers(self.writers)
        if self.at_once is not None and self.at_once < 1:
            raise UserError(f"members at once are {self.at_once}: at least 1")
        if self.at_once is not None and self.strategy not in (AUTO, "vmap"):
            raise UserError(
                f"{self.at_once} members at once are computed by vmap alone, not by the strategy "
                f"{self.strategy!r}"
            )


def run_group(
    plan: GroupPlan, folder: GroupFolder, options: Options, show: Show, preemption: Preemption
) -> None:
    """Train a group to its end from its newest checkpoint, then evaluate its members.

    Args:
        plan: Group that is run.
        folder: Folder of the group.
        options: How the group is computed.
        show: Function that is told of every stop.
        preemption: Preemption that is asked at every stop whether to save and end there.

    Raises:
        UserError: If the devices lack the memory for so many members.
        Interrupted: If SIGTERM or Ctrl-C came; what was trained is saved.
    """
    run, members = _GroupRun(plan, folder, options, show), len(plan.members)
    # Of a group that was begun some members may have come to their ends: those count until the
    # state is restored, which tells for certain.
    training = run.status.training if run.status.attempts else members
    counts = {"members": members, "training": training, "steps": plan.steps}
    counts |= {"attempts": run.status.attempts + 1, "devices": run.programs.mesh.size}
    run.tell(state="running", error="", **counts)
    try:
        with contextlib.closing(run.checkpoints):
            run.conclude(run.train(preemption))
    except Interrupted:
        run.tell(state="preempted")
        raise
    run.tell(state="finished", measured=options.interventions)


class _GroupRun:
    """A group at work; also the callbacks of its training, which write and show its status."""

    writer: Writer

    def __init__(self, plan: GroupPlan, folder: GroupFolder, options: Options, show: Show):
        first = plan.experiments[0]
        self.plan, self.folder, self.options, self.show = plan, folder, options, show
        self.status = folder.read_status()
        self.was_finished = self.status.state == "finished"
        self.pace = Pace()
        runs = tuple(experiment.training for experiment in plan.experiments)
        self.ensemble = Ensemble(first.model, first.task, runs)
        self.programs = MemberPrograms(self.ensemble, member_mesh())
        training = self.ensemble.training
        self.checkpoints = Checkpoints.of_training(folder.checkpoints, training, any_length=True)

    def tell(self, **changes: Any) -> None:
        """Change fields of the status."""
        self.status = dataclasses.replace(self.status, **changes)
        self.folder.write_status(self.status)
        self.show(self.folder.name, self.plan.title, self.status)

    def record(self, values: Mapping[str, float | int | str]) -> None:
        """Write a row of metrics, with the member's number in the sweep."""
        self.writer.write({**values, "member": self.plan.members[int(values["member"])]})
        if values["split"] == "dev":
            best = self.status.best_accuracy or 0.0
            self.status.best_accuracy = max(best, float(values["accuracy"]))

    def advance(self, standing: Standing) -> None:
        """Write and show the status."""
        self.tell(
            step=standing.step,
            training=int(standing.learns.sum()),
            diverged=int((standing.diverged_at != NEVER).sum()),
            stopped=int((standing.stopped_at != NEVER).sum()),
            rate=self.pace.take(standing) or self.status.rate,
            seconds=self.status.seconds + standing.seconds,
        )

    def say(self, message: str) -> None:
        """Print a message, with the name of the group."""
        say(f"{self.folder.name}: {message}")

    def train(self, preemption: Preemption) -> TrainState:
        """Train all members to their ends.

        Raises:
            Interrupted: If SIGTERM or Ctrl-C came; what was trained is saved.
        """
        if not self.ensemble.task.traceable and self.options.interventions != "none":
            self._measurement()  # refuses what documents of a file do not allow before training
        self.programs = self.programs.with_strategy(self._strategy())
        if preemption.requested():  # compiling and measuring may have taken minutes
            raise Stopped
        if self.was_finished and not self.checkpoints.steps():
            self.say("this group was finished, and its checkpoints are gone: trained anew")
        state, step = restore_or_create(self.programs, self.checkpoints, self.say)
        self.folder.go_on(self.ensemble.model.mixer, step)
        dev = [row["accuracy"] for row in dev_rows(self.folder.metrics)]
        self.tell(step=step, best_accuracy=max(dev, default=None))
        with open_writers(self.options.writers, self.folder.path, members=True) as self.writer:
            state = fit(state, self.programs, self.checkpoints, self, Policy.FREEZE, preemption)
        if preemption.requested():  # measuring strategies takes minutes, too
            raise Stopped
        return state

    def _strategy(self) -> Strategy:
        """The strategy that the group began with, or a new choice.

        Another strategy would change its numbers by rounding: a resumed sweep would differ. Only
        another number of members at once counts, since a device may have run out of memory.
        """
        kept = self.folder.read_strategy()
        if kept is not None:
            if self._is_asked(kept):
                if not self.was_finished:
                    Memory(self.programs).check(kept)  # there may be fewer devices than before
                self.say(f"members are computed by {kept}, as before")
                return kept
            self.say(f"members were computed by {kept}: from here on numbers differ by rounding")
        device, model = jax.devices()[0], self.ensemble.model
        shape, training = shape_of(self.plan.experiments[0]), self.ensemble.training
        on_host = not self.ensemble.task.traceable
        parts = " in parts" if on_host and are_in_parts(training, device.platform) else ""
        key = (
            f"{shape.fingerprint()}{parts} {model.mixer} width {model.width}, "
            f"{self.programs.on_each} members on each of {self.programs.mesh.size} "
            f"{device.platform} {device_name(device)}, jax {jax.__version__}"
        )
        choices = Choices(machine.cache_folder() / "strategies.json")
        asked = self.options.at_once, self.options.strategy
        chosen = choose_strategy(self.programs, choices, key, *asked, self.say)
        # Every process has measured for itself; the first one's choice counts.
        return self.folder.keep_strategy(chosen)

    def _is_asked(self, kept: Strategy) -> bool:
        """Whether the options ask for no other number of members at once."""
        at_once = self.options.at_once
        return at_once is None or kept == Strategy("vmap", min(at_once, self.programs.on_each))

    def _measurement(self) -> tuple[list[Subject], VerdictMeasurement, list[Any]]:
        """Subjects of all members, what is measured of each, and its arrays.

        Members are judged by one program, so that none has a verdict where documents of one cannot
        be judged: which are drawn is a matter of the seed of its data.

        Raises:
            UserError: If documents do not have what is to be measured.
        """
        experiments, level = self.plan.experiments, self.options.interventions
        by_seed = {e.training.data_seed: e for e in experiments}
        batches = self.ensemble.batches(lambda seed: documents_of(by_seed[seed]))
        sites: Sequence[str] = ()
        if level == "full":
            sites = sites_of_evidence(experiments[0].model, self.options.further)
        subjects = [  # without parameters, which stay on their devices
            Subject.of(experiment, None, batch)
            for experiment, batch in zip(experiments, batches, strict=True)
        ]
        plans = [plan_verdict(subject, sites, verdict=level != "none") for subject in subjects]
        if len({measurement.controls is None for measurement, _ in plans}) > 1:
            plans = [plan_verdict(subject, sites, verdict=False) for subject in subjects]
        return subjects, plans[0][0], [arrays for _, arrays in plans]

    def _why_not_judged(self, subjects: Sequence[Subject]) -> str:
        """Why members have no verdict, and which of them could have one alone."""
        reasons = [why_not_judged(subject.task, subject.batch) for subject in subjects]
        found = next(filter(None, reasons))
        lacking = [n for n, why in zip(self.plan.members, reasons, strict=True) if why]
        if len(lacking) == len(reasons):
            return found
        return (
            f"{found}, in documents of {len(lacking)} of {len(reasons)} members, of which "
            f"{lacking[0]} is one; {command('intervene')} judges the others, one by one"
        )

    def conclude(self, members: TrainState) -> None:
        """Compute answers, interventions and verdicts of all members as one program."""
        experiments = self.plan.experiments
        verdict = self.options.interventions != "none"
        self.say(
            f"{'answers, interventions and verdicts' if verdict else 'answers'} of "
            f"{len(experiments)} members on {experiments[0].evaluation.documents} documents each"
        )
        subjects, measurement, arrays = self._measurement()
        if verdict and measurement.controls is None:
            self.say(f"no verdict: {self._why_not_judged(subjects)}")

        def one(state: TrainState, arrays: Any) -> Any:
            return measurement.on_device(state.params, arrays)

        program = jax.jit(on_members(one, self.programs.mesh, at_once=1))
        raw = fetch(program(members, shard_members(stack(arrays), self.programs.mesh)))
        ends = fetch((members.step, members.diverged_at, members.stopped_at))

        def results() -> Iterator[MemberResult]:
            for i, (number, experiment) in enumerate(
                zip(self.plan.members, experiments, strict=True)
            ):
                found = jax.tree.map(lambda leaf, i=i: leaf[i], raw)
                judged = measurement.on_host(found, subjects[i]) if verdict else None
                step, *events = (int(values[i]) for values in ends)
                happened = {n: at for n, at in zip(EVENTS, events, strict=True) if at != NEVER}
                answers = found["answers"]
                yield MemberResult(
                    number, experiment, subjects[i].batch, answers, judged, step, happened
                )

        record_group(self.folder, len(experiments), results())
