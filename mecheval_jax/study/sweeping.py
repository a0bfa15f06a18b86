"""The sweeps of the study at work: group by group, or some groups at the same time as jobs."""

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence

import jax

from mecheval_jax import machine, programs, runs
from mecheval_jax.console import say
from mecheval_jax.errors import Stopped, UserError, counted, one_line
from mecheval_jax.store.folder import CONFIG_FILE, JOBS
from mecheval_jax.store.run_folder import RunFolder
from mecheval_jax.store.sweep_folder import GroupFolder, SweepFolder
from mecheval_jax.study.group_names import named
from mecheval_jax.study.plans import StudyFolder
from mecheval_jax.study.results import FURTHER, seen_folder, tabulate
from mecheval_jax.study.tables import grow_table, without_conflicts
from mecheval_jax.study.timing import Clock, group_seconds, is_beyond
from mecheval_jax.study.work import StudyRequest, Work
from mecheval_jax.sweeps.group import Options
from mecheval_jax.sweeps.launchers import Jobs, launch_jobs
from mecheval_jax.sweeps.plan import GroupPlan, Sweep, open_folder
from mecheval_jax.sweeps.run import run_sweep, were_preempted
from mecheval_jax.training.ensemble.strategy_choice import AUTO
from mecheval_jax.training.preemption import Preemption


def clock_for(request: StudyRequest) -> Clock:
    """Estimates for this machine, whose devices are divided among the groups at a time.

    Raises:
        UserError: If it cannot compute so many groups at the same time.
    """
    accelerator, at_once = jax.default_backend() != "cpu", request.jobs_at_once
    if at_once > 1 and accelerator:
        raise UserError(
            f"--jobs_at_once={at_once} is of the cores of a CPU: an accelerator computes the "
            "members of a group side by side, and one group after the other"
        )
    if at_once > (cores := machine.usable_cores()):
        raise UserError(f"--jobs_at_once={at_once}: at most the {counted(cores, 'core')} here")
    return Clock(max(1, jax.device_count() // at_once), accelerator, at_once)


def jobs_of(request: StudyRequest) -> Jobs | None:
    """How groups are run that are jobs; None if this process runs them.

    Raises:
        UserError: If what launches jobs is not installed.
    """
    several = request.jobs_at_once > 1
    return Jobs("local", at_once=request.jobs_at_once) if several else None


class Sweeping:
    """The groups of a study at work.

    Args:
        folder: Folder of the study.
        request: Requested part of the study.
        jobs: How groups are run that are jobs; None if this process runs them.
        clock: Estimates for this machine; they learn from each group.
        started: Time of `time.monotonic` from which on the budget counts.

    Attributes:
        not_run: Groups that were not run, each with the reason.
        failed: Errors of the groups that failed, by name.
    """

    def __init__(
        self,
        folder: StudyFolder,
        request: StudyRequest,
        jobs: Jobs | None,
        clock: Clock,
        started: float,
    ):
        self.folder, self.request, self.jobs = folder, request, jobs
        self.clock, self.started = clock, started
        self.not_run: list[str] = []
        self.failed: dict[str, Exception] = {}

    def run(self, work: Sequence[Work]) -> None:
        """Run what experiments leave, in their order, and write the table of each.

        Raises:
            Interrupted: If SIGTERM or Ctrl-C came, to this program or to jobs of it; the same
                command resumes.
        """
        parts = [
            _Part(self.folder, self.request, each, each.sweep)
            for each in work
            if each.sweep is not None
        ]
        if self.jobs:
            self._run_as_jobs(parts, self.jobs)
            return
        for part, group in self._due(parts):
            self._end(part, group, part.run([group]).get(group.name))

    def _due(self, parts: Sequence["_Part"]) -> Iterator[tuple["_Part", GroupPlan]]:
        """The groups, each when it can begin, but for those that are then beyond the budget."""
        for part in parts:
            failed = part.collect()
            for group in part.work.done:
                if group.name in failed:
                    self._leave(part, group, failed[group.name])
            for group in () if self.request.train_only else part.work.not_asked:
                self._leave(part, group, "not asked for (--groups)")
            for group in part.work.to_train:
                seconds = group_seconds(group, self.clock)
                spent = time.monotonic() - self.started
                if is_beyond(self.request.budget, spent, seconds):
                    self._leave(part, group, "beyond the budget")
                else:
                    yield part, group

    def _leave(self, part: "_Part", group: GroupPlan, why: str | Exception) -> None:
        """Note why a group was not run, or how it failed."""
        if isinstance(why, Exception):
            self.failed[part.named(group)] = why
            why = f"failed ({one_line(why, 200)})"
        self.not_run.append(f"{part.named(group)}: {why}")

    def _end(self, part: "_Part", group: GroupPlan, error: Exception | None) -> None:
        """Note how a group ended, and write the table of its experiment."""
        if error is None:
            observe(self.clock, part.own, group.name)
        else:
            self._leave(part, group, error)
        part.tabulate()

    def _run_as_jobs(self, parts: Sequence["_Part"], jobs: Jobs) -> None:
        """Run groups as processes of this program, some at the same time."""
        begun: dict[str, tuple[_Part, GroupPlan]] = {}
        told: list[str] = []

        def commands() -> Iterator[tuple[str, list[str]]]:
            for part, group in self._due(parts):
                open_folder(part.own, part.sweep)
                begun[part.named(group)] = part, group
                yield part.named(group), part.command(group, self.clock.devices)

        with Preemption() as preemption:
            logs, stop = self.folder.path / JOBS, preemption.requested
            with contextlib.closing(launch_jobs(commands(), jobs, logs, say, stop)) as ends:
                for end in ends:
                    if end.state == "preempted":
                        told.append(end.name)
                    else:
                        self._end(*begun[end.name], end.error if end.state == "failed" else None)
            if preemption.requested():
                raise Stopped
        if told:
            raise were_preempted(told)


class _Part:
    """One experiment at work: its sweep, and its table."""

    def __init__(self, folder: StudyFolder, request: StudyRequest, work: Work, sweep: Sweep):
        self.folder, self.request, self.work = folder, request, work
        self.sweep, self.part = sweep, work.part
        self.own = folder.sweep(work.part.name)
        self._names = named(self.sweep.groups)
        # A rehearsal has one member in each group, for which all strategies are equal.
        how = ("vmap", 1) if request.smoke else (AUTO, None)
        self.options = Options(*how, interventions=request.measured(self.part), further=FURTHER)
        self.own.path.parent.mkdir(parents=True, exist_ok=True)

    def named(self, group: GroupPlan) -> str:
        """Name of a group of this experiment, with its peculiarities, as messages have it."""
        return f"{self.part.name}/{self._names[group.name]}"

    def command(self, group: GroupPlan, devices: int) -> list[str]:
        """Command of the job that runs one group, and leaves tables and judgements to others."""
        request = self.request
        arguments = {
            "workdir": self.folder.path,
            "scale": request.scale,
            "only": self.part.experiment.name,
            "groups": group.name,
            "interventions": request.interventions,
            "smoke": request.smoke,
            "cpu_devices": devices,
            "train_only": True,
        }
        given = [f"--{name}={value}" for name, value in arguments.items()]
        return [*programs.child_command("study"), *given]

    def collect(self) -> Mapping[str, Exception]:
        """Collect groups that were finished before, for whatever was broken off before it did.

        Returns:
            Errors of those that failed, by name.
        """
        if not self.work.done:
            return {}
        failed = self.run(self.work.done)
        self.tabulate()
        return failed

    def run(self, groups: Sequence[GroupPlan]) -> Mapping[str, Exception]:
        """Train and measure groups in this process.

        Returns:
            Errors of those that failed, by name.
        """
        failed = dict(run_sweep(self.sweep, self.own.path, self.options, groups).failed)
        both = self.part.experiment.both_splits and self.options.interventions != "none"
        for group in groups if both else ():
            if group.name not in failed:
                own = self.own.group(group.name)
                try:
                    with own.lock("training"):
                        measure_seen(own)
                except UserError as error:
                    failed[group.name] = error
        return failed

    def tabulate(self) -> None:
        """Write the table of the groups that are finished so far, in case the machine is lost."""
        if self.request.train_only:
            return
        others = self.folder.beside(self.part.name, self.request.tables)
        found = without_conflicts(tabulate(self.own.path), others)
        grow_table(self.folder.table(self.part.name), found, self.part.wanted)


def measure_seen(group: GroupFolder) -> None:
    """Measure members on dev documents as well, in run folders of their own beside the first."""
    for config in sorted(group.members.glob(f"*/{CONFIG_FILE}")):
        run = RunFolder(config.parent)
        seen = seen_folder(group, run)
        summary, place = run.read_summary(), run.read_member()
        if place is None or "verdict" not in summary:
            continue
        metrics = run.read_metrics()
        # The verdict is written last: without it the measurement may be incomplete. With other
        # metrics it is of an earlier training of this member.
        if "verdict" in seen.read_summary() and seen.read_metrics() == metrics:
            continue
        experiment = run.experiment().with_evaluation(split="dev")
        seen.open_as_member(experiment, place.place, place.of, metrics)
        ends = ("finished", "step", "diverged_at", "stopped_at")
        seen.update_summary(**{name: summary[name] for name in ends if name in summary})
        runs.intervene(seen.path)


def observe(clock: Clock, sweep: SweepFolder, name: str) -> None:
    """Note how long a group took, if it is done."""
    status = sweep.group(name).read_status()
    members = sorted(sweep.group(name).members.glob(f"*/{CONFIG_FILE}"))
    if status.state == "finished" and members:
        clock.observe(RunFolder(members[0].parent).experiment(), status)
