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
from mecheval_jax.errors import one_line
from mecheval_jax.store.run_folder import RunFolder
from mecheval_jax.store.sweep_folder import SweepFolder
from mecheval_jax.study.announcement import announce
from mecheval_jax.study.conclusion import conclude
from mecheval_jax.study.coverage import coverage_of
from mecheval_jax.study.group_names import named
from mecheval_jax.study.judgement import Judgement
from mecheval_jax.study.page import summary
from mecheval_jax.study.plans import (
    ScaledExperiment,
    StudyFolder,
    experiments_at,
    member_steps,
)
from mecheval_jax.study.results import FURTHER, seen_folder, tabulate
from mecheval_jax.study.tables import grow_table, without_conflicts
from mecheval_jax.study.timing import Clock, is_beyond
from mecheval_jax.study.work import StudyRequest, Work, work_of
from mecheval_jax.sweeps.group import Options
from mecheval_jax.sweeps.run import run_sweep
from mecheval_jax.training.ensemble.strategy_choice import AUTO


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
    work = [work_of(part, folder, known, request) for part in asked]
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
    # What others have run of the experiments that were not requested is not missing.
    rows = folder.known(request.tables)
    not_run += [
        f"{part.name}: not asked for (--only)"
        for part in every
        if part not in asked and part.lacks_members(rows, request.measured(part))
    ]
    judgements = _conclude(folder, request, every, rows, not_run)
    return StudyOutcome(judgements, not_run, failed)


def _learn_times(clock: Clock, folder: StudyFolder, parts: Sequence[ScaledExperiment]) -> None:
    """Correct estimates by the groups that were trained in this folder."""
    for part in parts:
        own = folder.sweep(part.name)
        for group in own.groups() if own.sweep.exists() else ():
            _observe(clock, own, group.name)


def _observe(clock: Clock, sweep: SweepFolder, name: str) -> None:
    """Note how long a group took, if it is done."""
    status = sweep.group(name).read_status()
    members = sorted(sweep.group(name).members.glob("*/config.json"))
    if status.state == "finished" and members:
        one = RunFolder(members[0].parent).experiment()
        clock.observe(one, status.members * status.steps, status.seconds)


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
        names = named(sweep.groups)
        options = Options(*how, interventions=self.interventions, further=FURTHER)
        self.own.path.parent.mkdir(parents=True, exist_ok=True)
        if self.work.done:
            # Their results are collected once, for whatever was broken off before it wrote them.
            run_sweep(sweep, self.own.path, options, self.work.done)
            self._tabulate()
        for group in self.work.not_asked:
            self.not_run.append(f"{self.part.name}/{names[group.name]}: not asked for (--groups)")
        for group in self.work.to_train:
            steps = member_steps(group)
            expected = self.clock.seconds(group.experiments[0], steps)
            if self._is_too_long(expected):
                self.not_run.append(f"{self.part.name}/{names[group.name]}: beyond the budget")
                continue
            outcome = run_sweep(sweep, self.own.path, options, [group])
            if outcome.failed:
                reason = one_line(outcome.error, 200)
                self.not_run.append(f"{self.part.name}/{names[group.name]}: failed ({reason})")
                self.failed |= outcome.failed
            else:
                _observe(self.clock, self.own, group.name)
            self._tabulate()

    def _tabulate(self) -> None:
        """Write the table of the groups that are finished so far, in case the machine is lost."""
        if self.part.experiment.both_splits and self.interventions != "none":
            measure_seen(self.own)
        others = self.folder.beside(self.part.name, self.request.tables)
        found = without_conflicts(tabulate(self.own.path), others)
        grow_table(self.folder.table(self.part.name), found, self.part.wanted)

    def _is_too_long(self, seconds: float) -> bool:
        return is_beyond(self.request.budget, time.monotonic() - self.started, seconds)


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
            experiment = run.experiment().with_evaluation(split="dev")
            seen.open_as_member(experiment, place.place, place.of, run.read_metrics())
            ends = ("finished", "step", "diverged_at", "stopped_at")
            seen.update_summary(**{name: summary[name] for name in ends if name in summary})
            runs.intervene(seen.path)


def _conclude(
    folder: StudyFolder,
    request: StudyRequest,
    parts: Sequence[ScaledExperiment],
    rows: pd.DataFrame,
    not_run: Sequence[str],
) -> list[Judgement]:
    """Judge the findings from all known members of this scale, and write all files."""
    wanted = {name for part in parts for name in (*part.wanted, *part.seen)}
    own = rows.loc[rows["config_hash"].isin(wanted)].reset_index(drop=True)
    kind = "a rehearsal of the study with tiny runs" if request.smoke else "the study"
    found = conclude(
        folder.path, f"{kind} at scale {request.scale}", own, not_run, coverage_of(parts, own)
    )
    for one in found.judgements:
        say(f"finding {one.finding}: {one.verdict}. {one.sentence}")
    for line in not_run:
        say(f"not run: {line}")
    if found.coverage:
        say(found.coverage.sentence)
    say(f"{summary(found.judgements)} Report: {folder.report}")
    return list(found.judgements)
