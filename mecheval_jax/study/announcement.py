"""What is said of a study before anything is run: its members, time, memory and disk."""

import math
from collections.abc import Sequence

from mecheval_jax.console import say
from mecheval_jax.study.group_names import listed, named
from mecheval_jax.study.plans import StudyFolder
from mecheval_jax.study.timing import (
    ACCELERATOR,
    HOUR,
    Clock,
    checkpoint_bytes,
    group_seconds,
    is_beyond,
)
from mecheval_jax.study.work import StudyRequest, Work
from mecheval_jax.sweeps.plan import GroupPlan
from mecheval_jax.training.config import TrainingConfig

GB = 1e9


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
        part, groups = each.part, each.to_train
        members = sum(len(group.members) for group in groups)
        decides = ", ".join(map(str, part.experiment.findings)) or "none of the 30"
        say(
            f"{part.name}: {members} of {len(part.wanted)} members to train in {len(groups)} "
            f"groups, about {_hours(_seconds(clock, groups))}; decides findings {decides}"
        )
        if request.dry_run and len(request.only) == 1:  # those that --groups may name
            names = named(each.sweep.groups) if each.sweep else {}
            for group in groups:
                one = f"{len(group.members)} members, about {_hours(_seconds(clock, [group]))}"
                say(f"  {names[group.name]}: {one}")
        left += groups
    by_what = "by step times stated or measured"
    devices = f"{clock.devices * clock.at_once} devices"
    if clock.at_once > 1:
        devices += f", {clock.at_once} groups at a time"
    total = _seconds(clock, left) / clock.at_once
    say(f"in all about {_hours(total)} on {devices}, {by_what}")
    if request.scale == "device" and not clock.accelerator:
        guess = _hours(_seconds(Clock(1, accelerator=True), left))
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
        f"all checkpoints take about {kept / GB:.0f} GB of disk in {folder.path / 'sweeps'}; what "
        f"is found, a few MB, is beside them"
    )


def _kept(training: TrainingConfig) -> int:
    """Number of checkpoints that a training leaves behind."""
    if not training.keep_checkpoints:
        return math.ceil(training.steps / training.checkpoint_every)
    return training.keep_checkpoints + training.milestones


def _announce_budget(work: Sequence[Work], budget: float, clock: Clock) -> None:
    """Print the groups that a budget of some hours leaves out, experiment by experiment."""
    spent, count, lines = 0.0, 0, []
    for each in work:
        beyond = []
        for group in each.to_train:
            seconds = group_seconds(group, clock)
            if is_beyond(budget, spent, seconds):
                beyond.append(group)
            else:
                spent += seconds / clock.at_once
        count += len(beyond)
        if each.sweep and beyond:
            lines.append(f"  {each.part.name}: {listed(beyond, each.sweep.groups)}")
    every = sum(len(each.to_train) for each in work)
    say(
        f"the budget of {budget:g} h has time for {every - count} of {every} groups, about "
        f"{_hours(spent)}, and leaves out {f'{count}:' if count else 'none'}"
    )
    for line in lines:
        say(line)


def _seconds(clock: Clock, groups: Sequence[GroupPlan]) -> float:
    return sum(group_seconds(group, clock) for group in groups)


def _hours(seconds: float) -> str:
    return f"{seconds / HOUR:.1f} h" if seconds >= 0.1 * HOUR else f"{seconds / 60:.1f} min"
