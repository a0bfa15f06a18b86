"""Groups of a sweep in training: a live table in a terminal, plain lines elsewhere."""

import json
import shlex
import time
from collections.abc import Mapping, Sequence

from rich.live import Live
from rich.table import Table

from mecheval_jax import programs
from mecheval_jax.console import CONSOLE, say
from mecheval_jax.reporting.numbers import MISSING, percent
from mecheval_jax.reporting.terminal.progress import PLAIN_EVERY, Shown
from mecheval_jax.reporting.terminal.tables import output, plain_table
from mecheval_jax.reporting.terminal.text import Text
from mecheval_jax.store.provenance import found_from
from mecheval_jax.store.status import (
    DAMAGED,
    NamedStatus,
    Overview,
    count_states,
    seconds_left,
    total,
)
from mecheval_jax.store.sweep_folder import GroupStatus, SweepFolder

DROPPED = ("stopped", "diverged", "steps/s", "training", "left")
"""Columns that a narrow table leaves out, in this order."""

TITLE_ROOM = 16
"""Characters of a group's title that a narrow table shows."""

GAP = 2
"""Number of blanks between two columns."""

MEASURING = "measuring"
"""What a running group is at when no member trains any more: answers and interventions."""

STYLES = {
    "running": "cyan",
    MEASURING: "cyan",
    "finished": "green",
    "failed": "red",
    "dead": "red",
    DAMAGED: "red",
    "preempted": "yellow",
}

FRAME = 8
"""Lines of a terminal that are not groups: heading, total, a count of omitted ones, margins."""


class SweepView(Shown):
    """Context manager that shows the status of the groups of a sweep.

    Update it with every group at the start, so that totals are those of the sweep.

    Args:
        title: Title of the sweep.
    """

    def __init__(self, title: str = "sweep"):
        self._title = title
        self._groups: dict[str, NamedStatus] = {}
        self._spoke = time.monotonic()

    def _begin(self) -> Live:
        return Live(console=CONSOLE, refresh_per_second=4)

    def update(self, name: str, title: str, status: GroupStatus) -> None:
        """Show the status of a group of this name and title."""
        before = self._groups.get(name)
        # A copy, since the caller may change the object.
        self._groups[name] = NamedStatus(name, title, GroupStatus(**vars(status)))
        groups = list(self._groups.values())
        if self._shown is not None:
            self._shown.update(
                status_table(groups, self._title, CONSOLE.width, CONSOLE.height - FRAME)
            )
            return
        old = "waiting" if before is None else before.status.state
        now = time.monotonic()
        if status.state != old or (status.state == "running" and now - self._spoke >= PLAIN_EVERY):
            self._spoke = now
            whole = f"; {summarize(groups)}" if len(groups) > 1 else ""
            say(f"{describe(self._groups[name])}{whole}")


def status_table(
    groups: Sequence[NamedStatus], title: str, width: int, room: int | None = None
) -> Table:
    """The table of the groups, one a row, with their total.

    Args:
        groups: Groups with their status.
        title: Title above the table.
        width: Width of the screen; too narrow ones lack some of the columns in `DROPPED`.
        room: Greatest number of rows; finished and waiting groups are left out first, and counted.
    """
    shown = list(groups)
    if room is not None and len(shown) > room:
        shown = [one for one in shown if one.status.state not in ("waiting", "finished")]
        shown = (shown or list(groups))[: max(room, 1)]
    lines = [_cells(one.title or one.name, one.status, one.status.seconds_left) for one in shown]
    if len(groups) > 1:
        statuses = [one.status for one in groups]
        whole = total(statuses)
        lines.append(_cells("total", whole, seconds_left(statuses)))
        lines[-1]["step"] = f"{whole.step / max(whole.steps, 1):.0%}"
    columns = _fitting(lines, width)
    printed = plain_table(columns, ("group", "state"), GAP, Text(title))
    for column in printed.columns[1:]:  # rich narrows columns that wrap
        column.no_wrap = True
    for line in lines[: len(shown)]:
        cells = {column: Text(line[column]) for column in columns}
        cells["state"].style = STYLES.get(line["state"], "dim")
        if room is not None:  # a second line would take another group's place
            cells["group"].no_wrap, cells["group"].overflow = True, "ellipsis"
        printed.add_row(*cells.values())
    if len(shown) < len(groups):
        printed.add_row(Text(f"… {len(groups) - len(shown)} more", style="dim"))
    if len(groups) > 1:
        printed.add_row(*(lines[-1][column] for column in columns), style="bold")
        printed.rows[-2].end_section = True
    return printed


def _cells(title: str, status: GroupStatus, left: float | None) -> dict[str, str]:
    """The cells of a row, by column."""
    under_way = status.state in ("running", "")
    return {
        "group": title,
        "state": _now(status),
        "training": f"{status.training:,} of {status.members:,}",
        "diverged": f"{status.diverged:,}" if status.diverged else MISSING,
        "stopped": f"{status.stopped:,}" if status.stopped else MISSING,
        "step": f"{status.step:,}/{status.steps:,}",
        "best": percent(status.best_accuracy),
        "steps/s": _pace(status.rate) if status.rate > 0 and under_way else MISSING,
        "left": duration(left) if left else MISSING,
    }


def _pace(rate: float) -> str:
    """A rate, of a slow one two digits."""
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"


def _now(status: GroupStatus) -> str:
    """What a group is at: its state, in which measuring is told from training."""
    done = status.state == "running" and status.training == 0
    return MEASURING if done else status.state


def _fitting(lines: Sequence[Mapping[str, str]], width: int) -> list[str]:
    """The columns that are not empty, as many as fit."""

    def room_of(column: str) -> int:
        longest = max(len(column), *(len(line[column]) for line in lines))
        return min(longest, TITLE_ROOM) if column == "group" else longest

    columns = [
        column
        for column in lines[0]
        if column not in DROPPED or any(line[column] != MISSING for line in lines)
    ]
    for dropped in DROPPED:
        if sum(room_of(column) + GAP for column in columns) <= width:
            break
        columns = [column for column in columns if column != dropped]
    return columns


def describe(group: NamedStatus) -> str:
    """One group in one line."""
    _, title, status = group
    said = f"{title or group.name}: {_now(status)}, step {status.step:,}/{status.steps:,}"
    said += f", {status.training:,} of {status.members:,} training"
    if status.diverged:
        said += f", {status.diverged:,} diverged"
    if status.stopped:
        said += f", {status.stopped:,} stopped early"
    if status.best_accuracy is not None:
        said += f", best dev accuracy {percent(status.best_accuracy)}"
    if status.state == "running" and status.seconds_left:
        said += f", {_pace(status.rate)} steps/s in all, {duration(status.seconds_left)} left"
    elif status.state == "running" and not status.step:
        said += "; first the programs are compiled, and tried"
    return said + (f" ({status.error})" if status.error else "")


def summarize(groups: Sequence[NamedStatus]) -> str:
    """All groups in a few words."""
    statuses = [one.status for one in groups]
    counts = ", ".join(f"{count} {state}" for state, count in count_states(statuses).items())
    left = seconds_left(statuses)
    return f"groups: {counts}" + (f", {duration(left)} left in all" if left else "")


def duration(seconds: float | None) -> str:
    """A time in words, with two or three digits."""
    if seconds is None:
        return MISSING
    for unit, length, until in (("s", 1, 90), ("min", 60, 5400), ("h", 3600, 172_800)):
        if seconds < until:
            value = seconds / length
            return f"{value:.1f} {unit}" if unit == "h" and value < 10 else f"{value:.0f} {unit}"
    return f"{seconds / 86_400:.1f} days"


def show_overview(overview: Overview) -> None:
    """Print the table of a workdir, its failures, its best member, and the next command."""
    console = output(soft_wrap=True)
    console.print(status_table(overview.groups, str(overview.workdir), console.width))
    for _, title, status in overview.groups:
        if status.error:
            console.print(Text(f"{title}: {status.error}", style="red"))
        elif status.state == "dead":
            where = f"process {status.process} on {status.host}" if status.host else "its process"
            console.print(Text(f"{title}: dead: {where} last wrote {status.updated}", style="red"))
    for name, reason in overview.left_out.items():
        console.print(Text(f"{name}: not known: {reason}", style="red"))
    best = overview.best
    if best is not None:
        changes = ", ".join(f"{name}={value}" for name, value in best.changes.items())
        of = f"member {best.member} of {best.group} ({changes})" if changes else best.group
        console.print(Text(f"best so far: {percent(best.accuracy)} on dev documents, {of}"))
    console.print(Text(advice(overview), style="bold"))


def print_overview(overview: Overview) -> None:
    """Print the status of a workdir as JSON."""
    print(json.dumps(overview.as_dict(), indent=2))


def advice(overview: Overview) -> str:
    """The next command to type, with the reason."""
    counts = count_states(status for *_, status in overview.groups)
    command = overview.resume or "the command that started it"
    if set(counts) == {"finished"}:
        if overview.chosen_by:
            return f"all runs are trained and judged; what follows is at work: {overview.chosen_by}"
        folder = SweepFolder(overview.workdir)
        if folder.report.exists():
            return f"all done; {folder.report} shows it"
        if folder.sweep.exists():
            return f"all groups are finished; to write the tables and the report: {command}"
        workdir = shlex.quote(f"--workdir={overview.workdir}")
        report = found_from(overview.python_path, f"{programs.command('report')} {workdir}")
        return f"all done; {report} shows it"
    stuck = sum(counts.get(state, 0) for state in ("dead", "failed", "preempted"))
    if "running" in counts:
        return f"{stuck} to be taken up again, by {command}" if stuck else "running"
    return f"nothing runs; to go on: {command}"
