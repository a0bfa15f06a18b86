"""Progress of a sweep or of a single run, read from its files alone.

A group whose ``status.json`` says that it is running may be dead: on this machine if its process
is gone, on another machine if it has written nothing for a while.
"""

import collections
import datetime
import functools
import math
import os
import pathlib
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from mecheval_jax.errors import UserError
from mecheval_jax.files import is_alive, read_json
from mecheval_jax.forms import COUNT
from mecheval_jax.store.choice import CHOICE, is_choice
from mecheval_jax.store.forms import PROVENANCE
from mecheval_jax.store.left_out import LeftOut
from mecheval_jax.store.lock import held_by
from mecheval_jax.store.metrics import dev_rows, read_rows
from mecheval_jax.store.provenance import command_of
from mecheval_jax.store.remedies import AS_IT_WAS, NOT_NEEDED
from mecheval_jax.store.run_folder import RunFolder
from mecheval_jax.store.sweep_folder import GroupStatus, SweepFolder
from mecheval_jax.training.callbacks import middle_rate

PATIENCE = 600.0
"""Seconds without writing after which a group on another machine counts as dead."""


SUMMED = ("members", "training", "diverged", "stopped", "seconds", "attempts")
TOTALS = (*SUMMED, "step", "steps", "rate", "best_accuracy")
"""Fields that are totals over groups; all others belong to one group."""


DAMAGED = "damaged"
"""State of a group whose ``status.json`` cannot be read, in an overview alone."""


class NamedStatus(NamedTuple):
    """A group, or a run, with its status.

    Attributes:
        name: Name of the folder.
        title: Description in words.
        status: Status from its file. Its state is ``dead`` if the file says ``running`` and whoever
            wrote that runs no more, and ``damaged`` if the file cannot be read.
    """

    name: str
    title: str
    status: GroupStatus


class Best(NamedTuple):
    """The member with the highest accuracy so far.

    Attributes:
        group: Name of the member's group.
        member: Number of the member in the sweep; 0 for a single run.
        accuracy: Accuracy on dev documents, 0 to 1.
        changes: Fields of the member that differ from the base config.
    """

    group: str
    member: int
    accuracy: float
    changes: dict[str, Any]


class Overview(NamedTuple):
    """Progress of all groups.

    Attributes:
        workdir: Folder of the sweep or run.
        groups: Groups in order.
        best: Best member so far; None before an evaluation.
        resume: Command that started all groups, and resumes them; None if it is not known.
        left_out: Reasons of what is not known since a file is damaged, by the group's name.
        chosen_by: Who makes a choice among architectures of the groups now; None if nobody does.
        python_path: Folders that Python has to search for mixers, as of ``PYTHONPATH``; or nothing.
    """

    workdir: str
    groups: list[NamedStatus]
    best: Best | None
    resume: str | None
    left_out: Mapping[str, str]
    chosen_by: str | None = None
    python_path: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, with the totals."""
        statuses = [status for *_, status in self.groups]
        whole = total(statuses)
        return {
            "workdir": self.workdir,
            "groups": [
                {"name": name, "title": title, **vars(status), "seconds_left": status.seconds_left}
                for name, title, status in self.groups
            ],
            "total": {name: getattr(whole, name) for name in TOTALS}
            | {"states": count_states(statuses), "seconds_left": seconds_left(statuses)},
            "best": None if self.best is None else self.best._asdict(),
            "resume": self.resume,
            "left_out": dict(self.left_out),
            "chosen_by": self.chosen_by,
        }


def read_overview(workdir: str | os.PathLike, patience: float = PATIENCE) -> Overview:
    """The progress of the sweep or run in a folder.

    Args:
        workdir: Folder of a sweep or a run.
        patience: Seconds without a sign of life after which a group counts as dead.

    Raises:
        UserError: If the folder holds neither, or its ``sweep.json`` or a file of a single run is
            damaged. Of a sweep, other files that are damaged are named in the overview.
    """
    folder = pathlib.Path(workdir)
    if SweepFolder(folder).sweep.exists():
        return _of_sweep(SweepFolder(folder), patience)
    if RunFolder(folder).config.exists():
        return _of_run(RunFolder(folder), patience)
    raise UserError(
        f"{folder} holds no sweep (no sweep.json) and no run (no config.json): "
        "give the workdir of one"
    )


def is_dead(status: GroupStatus, now: datetime.datetime, patience: float) -> bool:
    """Whether a group that claims to be running is not."""
    if status.state != "running":
        return False
    silent = (now - datetime.datetime.fromisoformat(status.updated)).total_seconds()
    if status.host == socket.gethostname():
        # A process that is younger than the file has the number of one that is gone.
        age = _age(status.process)
        return not is_alive(status.process) or (age is not None and age < silent - 2)
    return silent > patience


def total(statuses: Iterable[GroupStatus]) -> GroupStatus:
    """All groups as one: sums of `TOTALS`, the best accuracy, and steps counted over members."""
    statuses = list(statuses)
    known = [one.best_accuracy for one in statuses if one.best_accuracy is not None]
    return GroupStatus(
        state="",
        **{name: sum(getattr(one, name) for one in statuses) for name in SUMMED},
        step=sum(one.step * one.members for one in statuses),
        steps=sum(one.steps * one.members for one in statuses),
        rate=sum(one.rate for one in statuses if one.state == "running"),
        best_accuracy=max(known, default=None),
    )


def seconds_left(statuses: Iterable[GroupStatus]) -> float | None:
    """Seconds until all groups are done, at the rate of the running ones; None if none runs."""
    statuses = list(statuses)
    rate = sum(status.rate for status in statuses if status.state == "running")
    left = sum(
        (status.steps - status.step)
        * (status.members if status.state == "waiting" else status.training)
        for status in statuses
        if status.state not in ("finished", "failed")
    )
    return left / rate if rate > 0 else None


def count_states(statuses: Iterable[GroupStatus]) -> dict[str, int]:
    """Number of groups in each state that occurs."""
    return dict(collections.Counter(status.state for status in statuses))


def _of_sweep(folder: SweepFolder, patience: float) -> Overview:
    content = folder.read()
    steps = content["base"].get("training", {}).get("steps", 0)
    now, left_out = datetime.datetime.now(datetime.UTC), LeftOut(aloud=False)
    groups = []
    for group in content["groups"]:
        read = folder.group(group["name"]).read_status
        status = left_out.part(group["name"], read, GroupStatus(DAMAGED))
        status.members = status.members or len(group["members"])
        if not status.steps:  # nothing is written yet
            own = (content["members"][one] for one in group["members"])
            status.steps = max(int(member.get("training.steps", steps)) for member in own)
        if is_dead(status, now, patience):
            status.state = "dead"
        groups.append(NamedStatus(group["name"], group["title"], status))
    best = _best_member(folder, groups, content["members"], left_out)
    program = "choose" if is_choice(folder.path) else "sweep"
    chosen_by = held_by(folder.path, CHOICE)
    resume, python_path = _made(folder.provenance, program, left_out)
    return Overview(str(folder.path), groups, best, resume, left_out, chosen_by, python_path)


def _best_member(
    folder: SweepFolder,
    groups: Sequence[NamedStatus],
    changes: Sequence[dict[str, Any]],
    left_out: LeftOut,
) -> Best | None:
    """The best member, read from the metrics of the group that reports the best accuracy.

    A group whose metrics are damaged is passed over.
    """
    evaluated = [group for group in groups if group.status.best_accuracy is not None]
    for group in sorted(evaluated, key=lambda group: -(group.status.best_accuracy or 0.0)):
        metrics, members = folder.group(group.name).metrics, range(len(changes))
        read = functools.partial(dev_rows, metrics, members)
        rows = left_out.part(group.name, read, [])
        if rows:
            # As in best.csv, of equal accuracies the one with the lower loss.
            row = max(rows, key=lambda row: (row["accuracy"], -_loss_of(row)))
            member = row["member"]
            return Best(group.name, member, row["accuracy"], dict(changes[member]))
    return None


def _loss_of(row: dict[str, Any]) -> float:
    loss = row.get("loss")
    return math.inf if loss is None else loss


def _of_run(folder: RunFolder, patience: float) -> Overview:
    """A single run as a group of one; running while it is trained, or if it wrote recently."""
    form = {"training": {"steps": COUNT}, "model": {"mixer": str}}
    config = read_json(folder.config, form, remedy=AS_IT_WAS)
    steps, title = config["training"]["steps"], config["model"]["mixer"]
    rows, summary = read_rows(folder.metrics), folder.read_summary()
    status = GroupStatus(members=1, steps=steps, training=1, attempts=1)
    dev = (row["accuracy"] for row in dev_rows(folder.metrics))
    status.best_accuracy = max(dev, default=None)
    if rows:
        written = datetime.datetime.fromtimestamp(folder.metrics.stat().st_mtime, datetime.UTC)
        status.state, status.step = "running", int(rows[-1]["step"])
        status.updated = written.isoformat(timespec="seconds")
        pace = [row["seconds_per_step"] for row in rows if row.get("seconds_per_step")]
        status.rate = middle_rate([1 / seconds for seconds in pace])
    # Whoever trains holds the folder's lock, however long a stretch of steps takes.
    at_work = held_by(folder.path, "training") is not None
    if at_work:  # its programs may still be compiled, and nothing be written
        status.state = "running"
    elif is_dead(status, datetime.datetime.now(datetime.UTC), patience):
        status.state = "dead"
    if summary.get("diverged_at") is not None and not summary.get("finished"):
        status.state, status.diverged, status.training = "failed", 1, 0
        status.error = f"training diverged at step {summary['diverged_at']}"
    if summary.get("finished"):
        status.state, status.step, status.training = "finished", summary.get("step", steps), 0
        # A member of a sweep is measured, and so finished, though it has diverged.
        status.diverged = int(summary.get("diverged_at") is not None)
        status.stopped = int(status.step < steps and not status.diverged)
    best = status.best_accuracy
    best = None if best is None else Best(folder.name, 0, best, {})
    groups = [NamedStatus(folder.name, title, status)]
    program = "sweep" if folder.member.exists() else "train"
    left_out = LeftOut(aloud=False)
    resume, python_path = _made(folder.provenance, program, left_out)
    return Overview(str(folder.path), groups, best, resume, left_out, python_path=python_path)


def _age(process: int) -> float | None:
    """Seconds since a process began; None if the system does not say."""
    try:
        text = pathlib.Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return None
    # Field 22 of proc(5) is the start in ticks since the boot; field 2 may contain spaces.
    began = int(text.rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - began / os.sysconf("SC_CLK_TCK")


def _made(provenance: pathlib.Path, program: str, left_out: LeftOut) -> tuple[str | None, str]:
    """The command that goes on, and where Python has to search for mixers.

    A status does not end where they cannot be read.
    """
    read = functools.partial(read_json, provenance, PROVENANCE, absent={}, remedy=NOT_NEEDED)
    known = left_out.part(provenance.stem, read, {})
    return command_of(known, program), known.get("python_path", "")
