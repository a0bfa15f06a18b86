"""What is said of a study before anything is run: its members, time, memory and disk."""

import math
from collections.abc import Sequence

from mecheval_jax.console import say
from mecheval_jax.errors import counted
from mecheval_jax.study.group_names import listed, named
from mecheval_jax.study.plans import StudyFolder
from mecheval_jax.study.timing import (
    ACCELERATOR,
    HOUR,
    Clock,
    checkpoint_bytes,
    group_seconds,
    is_beyond,
    seconds_of_all,
)
from mecheval_jax.study.work import StudyRequest, Work
from mecheval_jax.sweeps.plan import GroupPlan
from mecheval_jax.training.config import TrainingConfig

GB = 1e9

WORTH_SAYING = 0.9
"""Share of the time to which an option must bring it down to be told of."""


def announce(
    work: Sequence[Work], folder: StudyFolder, request: StudyRequest, clock: Clock
) -> None:
    """Print the rest of every experiment, with estimates of its time and memory.

    Where there is a budget, what it leaves out by these estimates is printed, too.

    Args:
        work: The work that each experiment leaves.
        folder: Folder of the study.
        request: Requested part of the study.
        clock: Estimates for this machine.
    """
    # Experiment by experiment, the time of what is left of it.
    left: list[GroupPlan] = []
    here = f"_{request.scale}" + "_smoke" * request.smoke
    if others := [path.name for path in folder.tables() if not path.stem.endswith(here)]:
        say(
            f"{folder.path} has results of other scales, {', '.join(others)}: of these a member "
            "counts where its config is the same"
        )
    for each in work:
        _announce_part(each, request, clock)
        left += each.to_train
    by_what = "by step times stated or measured"
    devices = counted(clock.devices * clock.at_once, "device")
    if clock.at_once > 1:
        devices += f", {clock.at_once} groups at a time"
    total = seconds_of_all(left, clock)
    say(f"in all about {_hours(total)} on {devices}, {by_what}")
    _announce_jobs(left, total, clock)
    if request.scale == "device" and not clock.accelerator:
        guess = _hours(seconds_of_all(left, Clock(1, accelerator=True)))
        say(f"on one accelerator about {guess}, if it needs {ACCELERATOR:.0%} of a core's time")
    if request.budget is not None:
        _announce_budget(work, request.budget, clock)
    # All in all: memory of the largest group, and disk.
    states = [sum(map(checkpoint_bytes, group.experiments)) for group in left]
    kept = sum(
        size * _kept(group.experiments[0].training)
        for size, group in zip(states, left, strict=True)
    )
    say(
        f"the largest group has {max(states, default=0) / GB:.1f} GB of parameters and moments; "
        f"all checkpoints take about {kept / GB:.0f} GB of disk in {folder.sweeps}; what "
        f"is found, a few MB, is beside them"
    )


def _announce_part(work: Work, request: StudyRequest, clock: Clock) -> None:
    """Print the rest of one experiment, and in a plan of it alone the groups that may be named."""
    part, groups = work.part, work.to_train
    members, seconds = sum(len(group.members) for group in groups), seconds_of_all(groups, clock)
    decides = ", ".join(map(str, part.experiment.findings)) or "none of the 30"
    say(
        f"{part.name}: {members} of {len(part.wanted)} members to train in "
        f"{counted(len(groups), 'group')}, about {_hours(seconds)}; decides findings {decides}"
    )
    if request.dry_run and len(request.only) == 1:
        names = named(work.sweep.groups) if work.sweep else {}
        for group in groups:
            count = counted(len(group.members), "member")
            say(f"  {names[group.name]}: {count}, about {_hours(group_seconds(group, clock))}")


def _announce_jobs(left: Sequence[GroupPlan], total: float, clock: Clock) -> None:
    """Print how much sooner groups would be done, if several were trained at the same time."""
    most = min(clock.devices, len(left))
    if clock.accelerator or clock.at_once > 1 or most < 2:
        return
    together = seconds_of_all(left, clock.with_groups_at_once(most))
    if together < WORTH_SAYING * total:
        say(f"with --jobs_at_once={most} about {_hours(together)}")


def _kept(training: TrainingConfig) -> int:
    """Number of checkpoints that a training leaves behind."""
    if not training.keep_checkpoints:
        return math.ceil(training.steps / training.checkpoint_every)
    return training.keep_checkpoints + training.milestones


def _announce_budget(work: Sequence[Work], budget: float, clock: Clock) -> None:
    """Print the groups that a budget of some hours leaves out, experiment by experiment."""
    begun, spent, count, lines = list[GroupPlan](), 0.0, 0, []
    for each in work:
        beyond = []
        for group in each.to_train:
            seconds = group_seconds(group, clock)
            if is_beyond(budget, spent, seconds):
                beyond.append(group)
            else:
                begun.append(group)
                spent += seconds / clock.at_once
        count += len(beyond)
        if each.sweep and beyond:
            lines.append(f"  {each.part.name}: {listed(beyond, each.sweep.groups)}")
    every = sum(len(each.to_train) for each in work)
    say(
        f"the budget of {budget:g} h has time for {every - count} of {every} groups, about "
        f"{_hours(seconds_of_all(begun, clock))}, and leaves out {f'{count}:' if count else 'none'}"
    )
    for line in lines:
        say(line)


def _hours(seconds: float) -> str:
    return f"{seconds / HOUR:.1f} h" if seconds >= 0.1 * HOUR else f"{seconds / 60:.1f} min"
