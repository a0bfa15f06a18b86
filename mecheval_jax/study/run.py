"""The study from end to end: its plan, what is trained, judgements and pages."""

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType

import pandas as pd

from mecheval_jax.console import say
from mecheval_jax.study.announcement import announce
from mecheval_jax.study.conclusion import conclude
from mecheval_jax.study.coverage import coverage_of
from mecheval_jax.study.judgement import Judgement
from mecheval_jax.study.page import summary
from mecheval_jax.study.plans import ScaledExperiment, StudyFolder, experiments_at
from mecheval_jax.study.sweeping import Sweeping, clock_for, jobs_of, observe
from mecheval_jax.study.timing import Clock
from mecheval_jax.study.work import StudyRequest, work_of
from mecheval_jax.sweeps.launchers import Jobs


@dataclasses.dataclass
class StudyOutcome:
    """The outcome of a request.

    Attributes:
        judgements: Judgements of all findings; none if nothing was to be judged.
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
        UserError: If a results table was edited, or the folder holds other files, or this machine
            cannot run several groups at the same time.
        Interrupted: If SIGTERM or Ctrl-C came; the same command resumes.
    """
    folder = StudyFolder(workdir)
    clock = clock_for(request)  # refuses what this machine cannot do
    folder.contents()  # refuses a file in its place, and links that lead out of it
    folder.known(request.tables)  # refuses what cannot be read, before anything is made
    jobs = None if request.dry_run else jobs_of(request)
    # A group that is trained has a lock of its own.
    unlocked = request.dry_run or request.train_only
    with contextlib.nullcontext() if unlocked else folder.lock("study"):
        return _run_study(folder, request, configs, clock, jobs)


def _run_study(
    folder: StudyFolder,
    request: StudyRequest,
    configs: Callable[[str], ModuleType],
    clock: Clock,
    jobs: Jobs | None,
) -> StudyOutcome:
    started = time.monotonic()
    known = folder.known(request.tables)
    # Judgements rest on the members of all experiments, even if only some are requested.
    judges = not (request.dry_run or request.train_only)
    names = () if judges else request.only
    every = experiments_at(request.scale, request.smoke, configs, clock, names)
    asked = [part for part in every if not request.only or part.experiment.name in request.only]
    _learn_times(clock, folder, asked)
    work = [work_of(part, folder, known, request) for part in asked]
    announce(work, folder, request, clock)
    if request.dry_run:
        return StudyOutcome([], [])

    sweeping = Sweeping(folder, request, jobs, clock, started)
    sweeping.run(work)
    if request.train_only:
        _say_not_run(sweeping.not_run)
        return StudyOutcome([], sweeping.not_run, sweeping.failed)
    # What others have run of the experiments that were not requested is not missing.
    rows = folder.known(request.tables)
    not_run = sweeping.not_run + [
        f"{part.name}: not asked for (--only)"
        for part in every
        if part not in asked and part.lacks_members(rows, request.measured(part))
    ]
    judgements = _conclude(folder, request, every, rows, not_run)
    return StudyOutcome(judgements, not_run, sweeping.failed)


def _learn_times(clock: Clock, folder: StudyFolder, parts: Sequence[ScaledExperiment]) -> None:
    """Correct estimates by the groups that were trained in this folder."""
    for part in parts:
        own = folder.sweep(part.name)
        for group in own.groups() if own.sweep.exists() else ():
            observe(clock, own, group.name)


def _say_not_run(not_run: Sequence[str]) -> None:
    for line in not_run:
        say(f"not run: {line}")


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
    _say_not_run(not_run)
    if found.coverage:
        say(found.coverage.sentence)
    say(f"{summary(found.judgements)} Report: {folder.report}")
    return list(found.judgements)
