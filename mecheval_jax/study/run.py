"""The study from end to end: its plan, sweeps, tables, judgements and pages."""

import dataclasses
import os
import time
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType

import jax
import pandas as pd

from mecheval_jax import runs
from mecheval_jax.console import say
from mecheval_jax.errors import UserError, choose, one_line
from mecheval_jax.store.run_folder import RunFolder
from mecheval_jax.store.sweep_folder import MEASURED, SweepFolder
from mecheval_jax.study.conclusion import conclude
from mecheval_jax.study.experiments import SCALES, experiment_named
from mecheval_jax.study.judgement import Judgement
from mecheval_jax.study.page import summary
from mecheval_jax.study.plans import (
    MEASURED_IN_REHEARSAL,
    ScaledExperiment,
    StudyFolder,
    experiments_at,
    member_steps,
    on_split,
)
from mecheval_jax.study.results import FURTHER, seen_folder, tabulate
from mecheval_jax.study.tables import groups_left, grow_table, without_conflicts
from mecheval_jax.study.timing import ACCELERATOR, Clock, checkpoint_bytes
from mecheval_jax.sweeps.group import Options
from mecheval_jax.sweeps.plan import GroupPlan, Sweep
from mecheval_jax.sweeps.run import run_sweep
from mecheval_jax.training.ensemble.strategy_choice import AUTO

HOUR = 3600
GB = 1e9


@dataclasses.dataclass(frozen=True)
class StudyRequest:
    """The part of the study that a user requests.

    Attributes:
        scale: Name of the scale, of `experiments.SCALES`.
        only: Names of experiments; all if empty.
        budget: Hours after which no group is begun; None for no limit. A group whose estimate goes
            beyond it is not begun, either.
        smoke: Whether each experiment has one tiny member.
        interventions: Level of measurement of every member, of `store.sweep_folder.MEASURED`.
        tables: Results tables from elsewhere, whose members are not trained again.
        dry_run: Whether to print what would be run, and run nothing.
        groups: Names of groups of the one experiment that `only` names; all if empty.

    Raises:
        UserError: If a value is not possible.
    """

    scale: str = "laptop"
    only: tuple[str, ...] = ()
    budget: float | None = None
    smoke: bool = False
    interventions: str = "full"
    tables: tuple[str, ...] = ()
    dry_run: bool = False
    groups: tuple[str, ...] = ()

    def __post_init__(self):
        choose("scale", self.scale, SCALES)
        choose("interventions", self.interventions, MEASURED)
        for name in self.only:
            experiment_named(name)
        if self.budget is not None and not self.budget >= 0:
            raise UserError(f"--budget is {self.budget}: hours, 0 or more")
        if self.groups and len(self.only) != 1:
            named = ",".join(self.groups)
            raise UserError(f"--groups={named}: groups of one experiment, to be named by --only")

    def measured(self, part: ScaledExperiment) -> str:
        """The level of measurement of the members of an experiment."""
        rehearsed = self.smoke and part.experiment.name not in MEASURED_IN_REHEARSAL
        return "none" if rehearsed else self.interventions


@dataclasses.dataclass(frozen=True)
class Work:
    """The work that an experiment leaves.

    Attributes:
        part: The experiment.
        sweep: The sweep of its members that were not known when it began; None if all were.
        done: The requested groups that are finished in this folder.
        to_train: The requested groups that are not, and have a member that is not known.
        not_asked: The other groups of that kind, which are not requested.
    """

    part: ScaledExperiment
    sweep: Sweep | None = None
    done: Sequence[GroupPlan] = ()
    to_train: Sequence[GroupPlan] = ()
    not_asked: Sequence[GroupPlan] = ()


@dataclasses.dataclass
class StudyOutcome:
    """The outcome of a request.

    Attributes:
        judgements: Judgements of all findings.
        not_run: Groups that were not run, each with the reason.
        failed: Errors of the groups that failed, by name.
    """

    judgements: list[Judgement]
    not_run: list[str]
    failed: Mapping[str, Exception] = dataclasses.field(default_factory=dict)


def run_study(
    workdir: str | os.PathLike, request: StudyRequest, configs: Callable[[str], ModuleType]
) -> StudyOutcome:
    """Run the members that are not known yet, and judge all that are.

    Args:
        workdir: Folder of the study.
        request: Requested part of the study.
        configs: Function from an experiment's name to its config module.

    Raises:
        UserError: If a results table was edited, or the folder holds other files.
        Interrupted: If SIGTERM or Ctrl-C came; the same command resumes.
    """
    folder = StudyFolder(workdir)
    folder.contents()  # refuses a file in its place, and links that lead out of it
    folder.known(request.tables)  # refuses what cannot be read, before anything is made
    if request.dry_run:
        return _run_study(folder, request, configs)
    with folder.lock("study"):
        return _run_study(folder, request, configs)


def _run_study(
    folder: StudyFolder, request: StudyRequest, configs: Callable[[str], ModuleType]
) -> StudyOutcome:
    started = time.monotonic()
    known = folder.known(request.tables)
    clock = Clock(jax.device_count(), jax.default_backend() != "cpu")
    # Judgements rest on the members of all experiments, even if only some are requested.
    names = request.only if request.dry_run else ()
    every = experiments_at(request.scale, request.smoke, configs, clock, names)
    asked = [part for part in every if not request.only or part.experiment.name in request.only]
    _learn_times(clock, folder, asked)
    work = [_work(part, folder, known, request) for part in asked]
    announce(work, folder, request, clock)
    if request.dry_run:
        return StudyOutcome([], [])

    not_run: list[str] = []
    failed: dict[str, Exception] = {}
    for each in work:
        out = _Sweeping(folder, each, request, clock, started)
        out.run()
        not_run += out.not_run
        failed |= out.failed
    not_run += [f"{part.name}: not asked for (--only)" for part in every if part not in asked]
    judgements = _conclude(folder, request, every, not_run)
    return StudyOutcome(judgements, not_run, failed)


def _work(
    part: ScaledExperiment, folder: StudyFolder, rows: pd.DataFrame, request: StudyRequest
) -> Work:
    """The work that an experiment leaves.

    Raises:
        UserError: If a group that was named is not there, or the sweep is of another version.
    """
    measured = request.measured(part)
    known = part.known_members(rows, measured)
    sweep = part.left(folder, known)
    if sweep is None:
        return Work(part)
    own, asked = folder.sweep(part.name), sweep.chosen(request.groups or None)
    done = [one for one in sweep.groups if own.group(one.name).is_finished(measured)]
    left = [one for one in groups_left(sweep, known) if one not in done]
    return Work(
        part,
        sweep,
        [one for one in done if one in asked],
        [one for one in left if one in asked],
        [one for one in left if one not in asked],
    )


def _learn_times(clock: Clock, folder: StudyFolder, parts: Sequence[ScaledExperiment]) -> None:
    """Correct estimates by the groups that were trained in this folder."""
    for part in parts:
        own = folder.sweep(part.name)
        for group in own.groups() if own.sweep.exists() else ():
            _observe(clock, own, group.name, part)


def _observe(clock: Clock, sweep: SweepFolder, name: str, part: ScaledExperiment) -> None:
    """Note how long a group took, if it is done."""
    status = sweep.group(name).read_status()
    members = sorted(sweep.group(name).members.glob("*/config.json"))
    if status.state == "finished" and members:
        one = RunFolder(members[0].parent).experiment()
        clock.observe(one, status.members * status.steps, status.seconds)


def announce(
    work: Sequence[Work], folder: StudyFolder, request: StudyRequest, clock: Clock
) -> None:
    """Print the rest of every experiment, with estimates of its time and memory.

    Args:
        work: The work that each experiment leaves.
        folder: Folder of the study.
        request: Requested part of the study.
        clock: Estimates for this machine.
    """
    # Experiment by experiment, the time of what is left of it.
    left: list[GroupPlan] = []
    for each in work:
        part, groups = each.part, each.to_train
        members = sum(len(group.members) for group in groups)
        decides = ", ".join(map(str, part.experiment.findings)) or "none of the 30"
        say(
            f"{part.name}: {members} of {len(part.wanted)} members to train in {len(groups)} "
            f"groups, about {_hours(_seconds(clock, groups))}; decides findings {decides}"
        )
        if request.dry_run and len(request.only) == 1:  # those that --groups may name
            for group in groups:
                one = f"{len(group.members)} members, about {_hours(_seconds(clock, [group]))}"
                say(f"  {group.name}: {one}")
        left += groups
    by_what = "by step times stated or measured"
    say(f"in all about {_hours(_seconds(clock, left))} on {clock.devices} devices, {by_what}")
    if request.scale == "device" and not clock.accelerator:
        guess = _hours(_seconds(Clock(1, accelerator=True), left))
        say(f"on one accelerator about {guess}, if it needs {ACCELERATOR:.0%} of a core's time")
    # All in all: memory of the largest group, and disk.
    states = [sum(map(checkpoint_bytes, group.experiments)) for group in left]
    kept = sum(
        size * (group.experiments[0].training.keep_checkpoints or 10)
        for size, group in zip(states, left, strict=True)
    )
    say(
        f"the largest group has {max(states, default=0) / GB:.1f} GB of parameters and moments; "
        f"all checkpoints take about {kept / GB:.0f} GB of disk in {folder.path / 'sweeps'}; what "
        f"is found, a few MB, is beside them"
    )


def _seconds(clock: Clock, groups: Sequence[GroupPlan]) -> float:
    return sum(clock.seconds(group.experiments[0], member_steps(group)) for group in groups)


def _hours(seconds: float) -> str:
    return f"{seconds / HOUR:.1f} h" if seconds >= 0.1 * HOUR else f"{seconds / 60:.1f} min"


class _Sweeping:
    """One experiment at work, group by group, until the budget is spent."""

    def __init__(
        self, folder: StudyFolder, work: Work, request: StudyRequest, clock: Clock, started: float
    ):
        self.folder, self.work, self.request = folder, work, request
        self.clock, self.started = clock, started
        self.part, self.own = work.part, folder.sweep(work.part.name)
        self.interventions = request.measured(work.part)
        self.not_run: list[str] = []
        self.failed: dict[str, Exception] = {}

    def run(self) -> None:
        """Run the groups of the experiment, and write its table."""
        sweep = self.work.sweep
        if sweep is None:
            return
        # A rehearsal has one member in each group, for which all strategies are equal.
        how = ("vmap", 1) if self.request.smoke else (AUTO, None)
        options = Options(*how, interventions=self.interventions, further=FURTHER)
        self.own.path.parent.mkdir(parents=True, exist_ok=True)
        if self.work.done:
            # Their results are collected once, for whatever was broken off before it wrote them.
            run_sweep(sweep, self.own.path, options, self.work.done)
            self._tabulate()
        for group in self.work.not_asked:
            self.not_run.append(f"{self.part.name}/{group.name}: not asked for (--groups)")
        for group in self.work.to_train:
            steps = member_steps(group)
            expected = self.clock.seconds(group.experiments[0], steps)
            if self._is_too_long(expected):
                self.not_run.append(f"{self.part.name}/{group.name}: beyond the budget")
                continue
            outcome = run_sweep(sweep, self.own.path, options, [group])
            if outcome.failed:
                reason = one_line(outcome.error, 200)
                self.not_run.append(f"{self.part.name}/{group.name}: failed ({reason})")
                self.failed |= outcome.failed
            else:
                _observe(self.clock, self.own, group.name, self.part)
            self._tabulate()

    def _tabulate(self) -> None:
        """Write the table of the groups that are finished so far, in case the machine is lost."""
        if self.part.experiment.both_splits and self.interventions != "none":
            measure_seen(self.own)
        others = self.folder.beside(self.part.name, self.request.tables)
        found = without_conflicts(tabulate(self.own.path), others)
        grow_table(self.folder.table(self.part.name), found, self.part.wanted)

    def _is_too_long(self, seconds: float) -> bool:
        if self.request.budget is None:
            return False
        spent = time.monotonic() - self.started
        return spent + seconds > self.request.budget * HOUR


def measure_seen(sweep: SweepFolder) -> None:
    """Measure members on dev documents as well, in run folders of their own beside the first."""
    for group in sweep.groups():
        for config in sorted(group.members.glob("*/config.json")):
            run = RunFolder(config.parent)
            seen = seen_folder(group, run)
            summary, place = run.read_summary(), run.read_member()
            # The verdict is written last: without it the measurement may be incomplete.
            if place is None or "verdict" not in summary or "verdict" in seen.read_summary():
                continue
            experiment = on_split(run.experiment(), "dev")
            seen.open_as_member(experiment, place.place, place.of, run.read_metrics())
            ends = ("finished", "step", "diverged_at", "stopped_at")
            seen.update_summary(**{name: summary[name] for name in ends if name in summary})
            runs.intervene(seen.path)


def _conclude(
    folder: StudyFolder,
    request: StudyRequest,
    parts: Sequence[ScaledExperiment],
    not_run: Sequence[str],
) -> list[Judgement]:
    """Judge the findings from all known members of this scale, and write all files."""
    wanted = {name for part in parts for name in (*part.wanted, *part.seen)}
    rows = folder.known(request.tables)
    rows = rows[rows["config_hash"].isin(wanted)].reset_index(drop=True)
    kind = "a rehearsal of the study with tiny runs" if request.smoke else "the study"
    found = conclude(folder.path, f"{kind} at scale {request.scale}", rows, not_run)
    for one in found.judgements:
        say(f"finding {one.finding}: {one.verdict}. {one.sentence}")
    for line in not_run:
        say(f"not run: {line}")
    say(f"{summary(found.judgements)} Report: {folder.report}")
    return list(found.judgements)
