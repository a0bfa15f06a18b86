"""The run of a sweep: its groups one after the other, or as jobs, and the tables of all."""

import contextlib
import dataclasses
import gc
import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence

from mecheval_jax import machine
from mecheval_jax.console import say
from mecheval_jax.errors import (
    USAGE_ERROR,
    Interrupted,
    Stopped,
    UserError,
    counted,
    one_line,
)
from mecheval_jax.partitioning import multihost
from mecheval_jax.reporting.html.sweep_report import write_sweep_report
from mecheval_jax.reporting.terminal.live import SweepView
from mecheval_jax.store.folder import JOBS
from mecheval_jax.store.provenance import versions
from mecheval_jax.store.sweep_folder import GroupFolder, GroupStatus, SweepFolder
from mecheval_jax.store.sweep_tables import SweepTables, write_tables
from mecheval_jax.sweeps.group import Options, run_group
from mecheval_jax.sweeps.launchers import JobEnd, Jobs, check_retries, launch_jobs
from mecheval_jax.sweeps.plan import GroupPlan, Sweep, open_folder
from mecheval_jax.training.checkpoints import damage
from mecheval_jax.training.checks import check_training
from mecheval_jax.training.ensemble.strategy_choice import check_strategy
from mecheval_jax.training.preemption import Preemption


@dataclasses.dataclass(frozen=True)
class SweepOutcome:
    """How the requested groups ended.

    Attributes:
        failed: Errors of the groups that failed, by name; the others are finished.
    """

    failed: Mapping[str, Exception]

    @property
    def error(self) -> Exception | None:
        """Error of the first group that failed."""
        return next(iter(self.failed.values()), None)


def run_sweep(
    sweep: Sweep,
    workdir: str | os.PathLike,
    options: Options,
    groups: Sequence[GroupPlan] | None = None,
    retries: int = 1,
    until: float | None = None,
) -> SweepOutcome:
    """Run the groups of a sweep in this process; finished ones are skipped, broken ones resumed.

    With several processes (`partitioning.multihost`) each calls this, and the first writes.

    Args:
        sweep: The sweep.
        workdir: Folder of the sweep.
        options: How groups are computed.
        groups: Groups to run, from `Sweep.chosen`; all if None.
        retries: How often a group that fails is run again. With several processes it is not: all of
            them end, and their launcher starts them again.
        until: Time of `time.monotonic` from which on it saves and ends; None for never.

    Raises:
        UserError: If the workdir is another sweep's, or a group could not run because of a user's
            mistake, or the workdir was moved away.
        Interrupted: If SIGTERM or Ctrl-C came, and what was trained is saved; or a process is gone.
        TimeIsOver: If `until` has come, likewise.
    """
    # All groups are checked before the first is trained.
    folder, plans = SweepFolder(workdir), sweep.groups if groups is None else groups
    _check(plans, options)
    for plan in plans:
        first = plan.experiments[0]
        check_training(first.model, first.task, first.training, first.evaluation.documents)
    failed: dict[str, Exception] = {}
    view = SweepView(str(folder.path))
    with multihost.raise_on_host_loss(), Preemption(until) as preemption, view:
        multihost.assert_equal_across_hosts(
            config=json.dumps(sweep.as_dict(), sort_keys=True),
            workdir=str(workdir),
            groups=json.dumps([plan.name for plan in plans]),
            options=repr(options),
            versions=json.dumps(versions()),
        )
        open_folder(folder, sweep)
        # Show all groups from the start, then run one after the other.
        for plan in plans:
            status = _status_of(folder.group(plan.name))
            status.members, status.steps = len(plan.members), plan.steps
            view.update(plan.name, plan.title, status)
        for plan in plans:
            if preemption.requested():
                raise Stopped
            error = _run_one(plan, folder.group(plan.name), options, retries, view, preemption)
            if error is not None:
                failed[plan.name] = error
        collect(folder)
        if preemption.signalled():  # while the last group was measured: the caller has to end too
            raise Stopped
    return SweepOutcome(failed)


def _check(plans: Sequence[GroupPlan], options: Options) -> None:
    """Check that groups can be computed so, wherever that will be.

    Raises:
        UserError: If one cannot.
    """
    for plan in plans:
        first = plan.experiments[0]
        check_strategy(options.strategy, first.task)
        if options.interventions != "none":
            first.evaluation.check_against(first.task)


def _status_of(group: GroupFolder) -> GroupStatus:
    """The status of a group; a damaged one is only of its progress, and written anew."""
    try:
        return group.read_status()
    except UserError as error:
        say(f"{error}; the group goes on from what it has saved")
        group.write_status(GroupStatus())
        return GroupStatus()


def _is_finished(group: GroupFolder, options: Options) -> bool:
    """Whether nothing is left to do for a group; says so."""
    if not group.is_finished(options.interventions):
        return False
    found = multihost.on_main(lambda: damage(group.checkpoints))
    was = f"{group.name}: finished before"
    say(f"{was}, and {found}: trained on from before that" if found else f"{was}, skipped")
    group.clear_lock("training")  # who finished it may have been killed before it did so itself
    return not found


def _run_one(
    plan: GroupPlan,
    own: GroupFolder,
    options: Options,
    retries: int,
    view: SweepView,
    preemption: Preemption,
) -> Exception | None:
    """Run one group unless it is finished; returns the error after which it was given up."""
    if _is_finished(own, options):
        return None

    def task() -> None:
        # The loss of another process is not a failure of the group.
        with multihost.raise_on_host_loss():
            run_group(plan, own, options, view.update, preemption)

    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(own.lock("training"))
        except UserError as error:  # another process holds the group and writes its files
            say(str(error))
            return error
        # With several processes nothing is retried here: one that began again alone would wait for
        # the others, and they for it.
        again = 0 if multihost.is_multiprocess() else retries
        error = run_with_retries(plan.name, task, again, say)
        gc.collect()  # its compiled programs, which refer to one another
        if error is not None:
            if not own.path.exists():
                # The folder was moved away. Nothing is made anew in its place, and other processes,
                # which do not write and so have not noticed, are not left to wait for this one.
                raise error
            status = own.read_status()
            status.state, status.error = "failed", one_line(error, 300)
            own.write_status(status)
            view.update(plan.name, plan.title, status)
    if error is None or isinstance(error, UserError):
        return error
    if multihost.is_multiprocess():
        # Only a UserError is raised on all of them. Others wait for this one, which may not go on
        # without them.
        raise error
    return machine.explain(error) or error


def run_with_retries(
    name: str, task: Callable[[], None], retries: int, say: Callable[[str], None]
) -> Exception | None:
    """Run a task, and run it again if it fails.

    A `UserError` would occur again, so it is not retried. Exceptions that end a program which can
    go on later (`Interrupted`, KeyboardInterrupt, SystemExit) pass through.

    Args:
        name: Name of the task, for messages.
        task: Function that is run.
        retries: How often the task is run again.
        say: Function that takes one line for each failure.

    Returns:
        The last error, which holds nothing that the task had in memory; None if the task was done.

    Raises:
        UserError: If `retries` is negative.
    """
    check_retries(retries)
    for left in range(retries, -1, -1):
        try:
            task()
        except Interrupted:
            raise
        except UserError as error:
            say(f"{name} failed: {error}")
            return _let_go(error)
        except Exception as error:
            text = f"{type(error).__name__}: {one_line(error, 300)}"
            say(f"{name} failed ({text}); {left} {'retry' if left == 1 else 'retries'} left")
            if not left:
                return _let_go(error)
        else:
            return None
    raise AssertionError("retries were checked")


def _let_go(error: Exception) -> Exception:
    """An error without the values of what it ended: arrays on devices, which others need room for.

    Where it was raised can still be told.
    """
    link, seen = error, []
    while link is not None and not any(link is one for one in seen):
        traceback.clear_frames(link.__traceback__)
        seen.append(link)
        link = link.__cause__ or link.__context__
    return error


def collect(folder: SweepFolder) -> int:
    """Write the tables and the report of all groups that are finished so far.

    Returns:
        Number of their members.
    """
    return write_tables(folder, _show)


def _show(folder: SweepFolder, tables: SweepTables) -> None:
    """Print the best members, and write the report of the sweep."""
    for row in tables.best.itertuples():
        verdict = f", {row.verdict}" if isinstance(row.verdict, str) else ""
        say(
            f"{row.group}: best at learning rate {row.learning_rate:g}, seed {row.seed} "
            f"(member {row.member}): accuracy {row.accuracy:.1%} "
            f"[{row.low:.1%}, {row.high:.1%}], floor {row.floor:.1%}{verdict}"
        )
    write_sweep_report(folder, tables)


def launch_sweep(
    sweep: Sweep,
    workdir: str | os.PathLike,
    options: Options,
    jobs: Jobs,
    groups: Sequence[GroupPlan] | None = None,
) -> SweepOutcome:
    """Run the groups that are not finished as jobs, one each, and collect their results.

    Without a launcher they run in this process, by `run_sweep`, which has the same arguments. Jobs
    get their options from the arguments of this program.

    Raises:
        UserError: If there are several processes, or the workdir is another sweep's.
        Interrupted: If SIGTERM or Ctrl-C came to this program, or to jobs that are not finished.
    """
    if groups is not None and not groups:
        say(f"this shard has nothing to do; groups in all: {len(sweep.groups)}")
    if jobs.launcher == "none":
        return run_sweep(sweep, workdir, options, groups, jobs.retries)
    if multihost.is_multiprocess():
        raise UserError(
            f"launcher {jobs.launcher!r} starts jobs from one process, and here are several: give "
            "no --coordinator, or --processes=1"
        )
    folder, plans = SweepFolder(workdir), sweep.groups if groups is None else groups
    _check(plans, options)
    open_folder(folder, sweep, here=False)
    for each in plans:
        _status_of(folder.group(each.name))  # a damaged one is written anew
    names = [p.name for p in plans if not _is_finished(folder.group(p.name), options)]
    ends: dict[str, JobEnd] = {}
    with Preemption() as preemption:
        for left in range(jobs.retries, -1, -1):
            commands = {name: jobs.command(name) for name in names}
            if commands:
                logs, told = folder.path / JOBS, preemption.requested
                launched = launch_jobs(commands.items(), jobs, logs, say, told)
                with contextlib.closing(launched) as found:
                    ends |= {end.name: end for end in found}
            # A user's mistake would occur again; a preempted job is left for another time.
            names = [n for n in names if ends[n].state == "failed" and ends[n].code != USAGE_ERROR]
            if names and left:
                say(f"once more: {', '.join(names)}")
    collect(folder)
    preempted = [name for name, end in ends.items() if end.state == "preempted"]
    failed = {name: end.error for name, end in ends.items() if end.state == "failed"}
    if preempted:
        told = were_preempted(preempted)
        if not failed:
            raise told
        say(str(told))
    return SweepOutcome(failed)


def were_preempted(names: Sequence[str]) -> Interrupted:
    """What ends a program of which some jobs were told to save."""
    return Interrupted(f"preempted: {', '.join(names)}; the same command resumes")


def report_failures(outcome: SweepOutcome) -> None:
    """End with an error if a group failed.

    Raises:
        UserError: If all that failed could not run because of a user's mistake; the first one's.
        SystemExit: With code 1, if one failed for any other reason.
    """
    count = len(outcome.failed)
    only_mistakes = all(isinstance(error, UserError) for error in outcome.failed.values())
    if count > 1 or not only_mistakes:
        say(f"error: {counted(count, 'group')} failed: {', '.join(outcome.failed)}")
    if not only_mistakes:
        sys.exit(1)
    if outcome.error is not None:
        raise outcome.error
