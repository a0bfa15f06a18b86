"""Groups of a sweep as they train: a live table on a terminal, plain lines elsewhere."""

import json
import time
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from mecheval_jax.reporting.progress import CONSOLE, PLAIN_EVERY, say
from mecheval_jax.sweep_folder import GroupStatus, SweepFolder
from mecheval_jax.sweep_status import (
    NamedStatus,
    Overview,
    count_states,
    seconds_left,
    total,
)

MISSING = "–"  # noqa: RUF001

COLUMNS = (
    "group",
    "state",
    "training",
    "diverged",
    "stopped",
    "step",
    "best",
    "steps/s",
    "left",
)
STYLES = {
    "running": "cyan",
    "finished": "green",
    "failed": "red",
    "dead": "red",
    "preempted": "yellow",
}

FRAME = 8
"""Lines of a terminal that are no groups: heading, total, what is left out, and some air."""

PLAIN_WIDTH = 120
"""Of a table that goes to a file."""


class SweepView:
    """Context manager that shows how the groups of a sweep are doing.

    Tell it of every group at the start, so that the totals are those of the sweep.

    Args:
        title: of the sweep.
    """

    def __init__(self, title: str = "sweep"):
        self._title = title
        self._groups: dict[str, NamedStatus] = {}
        self._live: Live | None = None
        self._spoke = time.monotonic()

    def __enter__(self) -> "SweepView":
        if CONSOLE.is_terminal:
            self._live = Live(console=CONSOLE, refresh_per_second=4)
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def update(self, name: str, title: str, status: GroupStatus) -> None:
        """A group is doing so; `name` and `title` say which."""
        before = self._groups.get(name)
        # A copy: the caller may go on with the same object.
        self._groups[name] = NamedStatus(name, title, GroupStatus(**vars(status)))
        groups = list(self._groups.values())
        if self._live is not None:
            self._live.update(status_table(groups, self._title, CONSOLE.height - FRAME))
            return
        old = "waiting" if before is None else before.status.state
        now = time.monotonic()
        if status.state != old or (status.state == "running" and now - self._spoke >= PLAIN_EVERY):
            self._spoke = now
            whole = f"; {summarize(groups)}" if len(groups) > 1 else ""
            say(f"{describe(self._groups[name])}{whole}")


def status_table(groups: Sequence[NamedStatus], title: str, room: int | None = None) -> Table:
    """One row a group, and their total.

    Args:
        groups: how each is doing.
        title: above the table.
        room: rows at most; finished and waiting groups are left out first, and counted.
    """
    shown = list(groups)
    if room is not None and len(shown) > room:
        shown = [one for one in shown if one.status.state not in ("waiting", "finished")]
        shown = (shown or list(groups))[: max(room, 1)]
    printed = Table(
        box=None, padding=(0, 2, 0, 0), title=Text(title), title_justify="left", header_style="bold"
    )
    statuses = [one.status for one in groups]
    # What there is none of takes no room.
    columns = [
        i
        for i, name in enumerate(COLUMNS)
        if name not in ("diverged", "stopped") or any(getattr(one, name) for one in statuses)
    ]
    for i in columns:
        # Where there is not enough room it is the titles that give way.
        printed.add_column(
            COLUMNS[i],
            justify="left" if i < 2 else "right",
            overflow="fold",
            no_wrap=i > 0,
            min_width=None if i else 8,
        )
    for one in shown:
        cells = _cells(one.status, one.status.seconds_left)
        state = Text(cells[0], style=STYLES.get(one.status.state, "dim"))
        name = Text(one.title or one.name)
        if room is not None:  # one line each, or there is not room for so many
            name.no_wrap, name.overflow = True, "ellipsis"
        line = [name, state, *map(Text, cells[1:])]
        printed.add_row(*(line[i] for i in columns))
    if len(shown) < len(groups):
        printed.add_row(Text(f"… {len(groups) - len(shown)} more", style="dim"))
    if len(groups) > 1:
        whole = total(statuses)
        cells = ["total", *_cells(whole, seconds_left(statuses))]
        cells[COLUMNS.index("step")] = f"{whole.step / max(whole.steps, 1):.0%}"
        printed.add_row(*(cells[i] for i in columns), style="bold")
        printed.rows[-2].end_section = True
    return printed


def _cells(status: GroupStatus, left: float | None) -> list[str]:
    rate = f"{status.rate:,.0f}" if status.rate >= 10 else f"{status.rate:.2g}"
    return [
        status.state,
        f"{status.training:,} of {status.members:,}",
        f"{status.diverged:,}" if status.diverged else MISSING,
        f"{status.stopped:,}" if status.stopped else MISSING,
        f"{status.step:,}/{status.steps:,}",
        _percent(status.best_accuracy),
        rate if status.rate > 0 and status.state in ("running", "") else MISSING,
        MISSING if left is None or status.state not in ("running", "") else duration(left),
    ]


def describe(group: NamedStatus) -> str:
    """One group in a line."""
    _, title, status = group
    said = f"{title or group.name}: {status.state}, step {status.step:,}/{status.steps:,}"
    said += f", {status.training:,} of {status.members:,} training"
    if status.diverged:
        said += f", {status.diverged:,} diverged"
    if status.stopped:
        said += f", {status.stopped:,} stopped early"
    if status.best_accuracy is not None:
        said += f", best accuracy {_percent(status.best_accuracy)}"
    if status.state == "running" and status.rate > 0:
        said += f", {status.rate:,.0f} member-steps/s, {duration(status.seconds_left)} left"
    return said + (f" ({status.error})" if status.error else "")


def summarize(groups: Sequence[NamedStatus]) -> str:
    """All groups in a few words."""
    statuses = [one.status for one in groups]
    counts = ", ".join(f"{count} {state}" for state, count in count_states(statuses).items())
    left = seconds_left(statuses)
    return f"groups: {counts}" + ("" if left is None else f", {duration(left)} left in all")


def duration(seconds: float | None) -> str:
    """A time in words of two digits or three."""
    if seconds is None:
        return MISSING
    for unit, length, until in (("s", 1, 90), ("min", 60, 5400), ("h", 3600, 172_800)):
        if seconds < until:
            value = seconds / length
            return f"{value:.1f} {unit}" if unit == "h" and value < 10 else f"{value:.0f} {unit}"
    return f"{seconds / 86_400:.1f} days"


def show_overview(overview: Overview) -> None:
    """Print a workdir's table, its failures, its best member, and what to do next."""
    console = Console(highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = max(console.width, PLAIN_WIDTH)
    console.print(status_table(overview.groups, str(overview.workdir)))
    for _, title, status in overview.groups:
        if status.error:
            console.print(Text(f"{title}: {status.error}", style="red"))
        elif status.state == "dead":
            where = f"process {status.process} on {status.host}" if status.host else "its process"
            console.print(Text(f"{title}: dead: {where} last wrote {status.updated}", style="red"))
    best = overview.best
    if best is not None:
        changes = ", ".join(f"{name}={value}" for name, value in best.changes.items())
        of = f"member {best.member} of {best.group} ({changes})" if changes else best.group
        console.print(Text(f"best so far: {_percent(best.accuracy)} on dev documents, {of}"))
    console.print(Text(advice(overview), style="bold"))


def print_overview(overview: Overview) -> None:
    """Print a workdir's standing as JSON."""
    print(json.dumps(overview.as_dict(), indent=2))


def advice(overview: Overview) -> str:
    """What to do next."""
    counts = count_states(status for *_, status in overview.groups)
    command = overview.resume or "the command that started it"
    if set(counts) == {"finished"}:
        folder = SweepFolder(overview.workdir)
        if folder.report.exists():
            return f"all done; {folder.report} shows it"
        if folder.sweep.exists():
            return f"all groups are finished; to write the tables and the report: {command}"
        return f"all done; python -m launch.report --workdir={overview.workdir} shows it"
    stuck = sum(counts.get(state, 0) for state in ("dead", "failed", "preempted"))
    if "running" in counts:
        return f"{stuck} to be taken up again, by {command}" if stuck else "running"
    return f"nothing runs; to go on: {command}"


def _percent(value: float | None) -> str:
    return MISSING if value is None else f"{value:.1%}"
