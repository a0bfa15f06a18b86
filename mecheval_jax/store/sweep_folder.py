"""The folder of a sweep: its runs in groups, the status of each group, and all results.

    sweep.json         the base config, what each member changes, the groups
    provenance.json    versions, commit and device
    members.csv        a row for each member and metric
    best.csv           the best member of each shape
    success.csv        shares of members whose accuracy exceeds a threshold
    differences.csv    differences of accuracy between shapes
    report.html        the report, which shows all of this in a browser
    figures/, tables/  figures and tables of the report
    jobs/              logs of the processes that trained groups, where there were some
    groups/NAME/       what belongs to one group:
        status.json        its progress, written at every stop of the training loop
        strategy.json      how its members are computed
        metrics.jsonl      loss and accuracy over the steps, with the number of the member
        metrics.csv        the same as a table
        checkpoints/       parameters and states of the optimizer of all members together
        trackers.json, ... what the trackers of ``--writers`` keep
        own_code/          copies of mixers of the user's own
        members.csv        its rows of the table of the sweep
        answers.npz        answers of its members, document by document
        members/INDEX/     run folder of a member, without parameters: these are in checkpoints/
        dev/INDEX/         the same on documents of the split dev, where the study asks for it

Several machines that train a sweep together share the folder, each with groups of its own.
"""

import dataclasses
import datetime
import json
import os
import pathlib
import re
import socket
from collections.abc import Mapping
from typing import Any

from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.config import EvaluationConfig
from mecheval_jax.experiment import Experiment
from mecheval_jax.files import damaged, read_json, write_json
from mecheval_jax.forms import COUNT, NUMBER
from mecheval_jax.partitioning.multihost import by_main, is_main, on_main
from mecheval_jax.store.folder import (
    CHECKPOINTS,
    GROUPS,
    MEMBERS,
    MEMBERS_FILE,
    PROVENANCE_FILE,
    REPORT_FILE,
    SWEEP_FILE,
    Folder,
)
from mecheval_jax.store.forms import STRATEGY, SWEEP
from mecheval_jax.store.lock import held
from mecheval_jax.store.metrics import read_rows
from mecheval_jax.store.provenance import provenance
from mecheval_jax.store.remedies import AS_IT_WAS, WRITTEN_AGAIN
from mecheval_jax.store.run_folder import TrainingFolder
from mecheval_jax.training.ensemble.strategy import Strategy

STATES = ("waiting", "running", "preempted", "failed", "finished")
"""States of a group: not begun, under way (or dead), to be resumed, given up, done."""


MEASURED = ("full", "verdict", "none")
"""Levels of measurement, most first: grid and verdict, verdict alone, answers alone."""


STATUS = {
    "state?": set(STATES),
    "measured?": set(MEASURED),
    "best_accuracy?": NUMBER,
    **dict.fromkeys(("rate?", "seconds?"), float),
    **dict.fromkeys(("error?", "host?", "updated?"), str),
    **dict.fromkeys(("members?", "step?", "steps?", "training?", "diverged?", "stopped?"), COUNT),
    **dict.fromkeys(("attempts?", "devices?", "process?"), COUNT),
}
"""Form of ``status.json``."""

PLAIN = re.compile(r"\w[\w.-]*")
"""Names of groups, each of which is that of a folder."""


@dataclasses.dataclass
class GroupStatus:
    """Status of a group, as in ``status.json``.

    Attributes:
        state: One of `STATES`.
        members: Number of members.
        step: Steps taken, of `steps`.
        steps: Steps of the longest schedule.
        training: Members that still learn; the others are done, stopped early or diverged.
        diverged: Members whose loss was not finite.
        stopped: Members that reached the target accuracy before their last step.
        best_accuracy: Highest accuracy of a member on dev documents, 0 to 1; None before an
            evaluation.
        rate: Member-steps a second.
        seconds: Time spent so far, over all attempts.
        attempts: Number of times that it was started.
        devices: Number of devices over which members are spread; 0 if that is not known.
        measured: Level of measurement at the end, one of `MEASURED`.
        error: Reason of a failure in one line; empty if there is none.
        host: Name of the machine that works on it.
        process: Process id on that machine.
        updated: Time of writing, UTC, ISO 8601.
    """

    state: str = "waiting"
    members: int = 0
    step: int = 0
    steps: int = 0
    training: int = 0
    diverged: int = 0
    stopped: int = 0
    best_accuracy: float | None = None
    rate: float = 0.0
    seconds: float = 0.0
    attempts: int = 0
    devices: int = 0
    measured: str = "none"
    error: str = ""
    host: str = ""
    process: int = 0
    updated: str = ""

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the last step at the present rate; None without one, or if nothing runs."""
        runs = self.state == "running" and self.rate > 0
        return (self.steps - self.step) * self.training / self.rate if runs else None


class GroupFolder(TrainingFolder):
    """Paths and files of one group."""

    DEPTH = 2 + Folder.DEPTH  # members/INDEX, and the folders of that run

    def __init__(self, path: str | os.PathLike):
        super().__init__(path)
        self.status = self.path / "status.json"
        self.strategy = self.path / "strategy.json"
        self.checkpoints = self.path / CHECKPOINTS
        self.table = self.path / MEMBERS_FILE
        self.answers = self.path / "answers.npz"
        self.members = self.path / MEMBERS

    def read_metrics(self) -> list[dict[str, Any]]:
        """Rows of ``metrics.jsonl``, each of a member; a last line cut off is passed over."""
        return read_rows(self.metrics, members=COUNT)

    def member(self, index: int) -> pathlib.Path:
        """Path of the run folder of the member with this number in the sweep."""
        return self.members / f"{index:04d}"

    def read_status(self) -> GroupStatus:
        """The status; that of a group which has not begun if there is no file.

        Raises:
            UserError: If the file is damaged.
        """
        if not self.status.exists():
            return GroupStatus()
        values = read_json(self.status, STATUS, remedy=WRITTEN_AGAIN)
        known = vars(GroupStatus())
        status = GroupStatus(**{name: values.get(name, own) for name, own in known.items()})
        if status.state == "running":
            try:
                aware = datetime.datetime.fromisoformat(status.updated).tzinfo is not None
            except ValueError:
                aware = False
            if not aware:
                what = f"updated is {status.updated!r}, which is no time"
                raise damaged(self.status, what, WRITTEN_AGAIN)
        return status

    def read_strategy(self) -> Strategy | None:
        """The strategy that computes the members; None before it is chosen.

        Raises:
            UserError: If the file is damaged.
        """
        how = {"absent": {}, "remedy": WRITTEN_AGAIN}
        values = on_main(lambda: read_json(self.strategy, STRATEGY, **how))
        try:
            return Strategy(values["kind"], values.get("at_once", 1)) if values else None
        except UserError as error:
            raise damaged(self.strategy, error, WRITTEN_AGAIN) from None

    def keep_strategy(self, strategy: Strategy) -> Strategy:
        """Write the strategy of the members; every process gets the one of the first process."""
        on_main(lambda: write_json(self.strategy, dataclasses.asdict(strategy)))
        return self.read_strategy()

    @by_main
    def is_finished(self, measured: str) -> bool:
        """Whether the group is done, and measured at this level or a higher one."""
        status = self.read_status()
        enough = MEASURED.index(status.measured) <= MEASURED.index(measured)
        return status.state == "finished" and enough and self.has_table()

    def has_table(self) -> bool:
        """Whether the table of its members exists."""
        return self.table.exists() and self.table.stat().st_size > 0

    def check_table(self) -> None:
        """Check that the table of a group that is finished is there.

        Raises:
            UserError: If it is not.
        """
        if not self.has_table() and self.read_status().state == "finished":
            raise damaged(self.table, "it is empty, or not there", WRITTEN_AGAIN)

    def write_status(self, status: GroupStatus) -> None:
        """Write the status, with host and time; does nothing on a process that does not write."""
        if not is_main():
            return
        status.host, status.process = socket.gethostname(), os.getpid()
        status.updated = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self.path.mkdir(parents=True, exist_ok=True)
        write_json(self.status, dataclasses.asdict(status))


def confidence_of(content: Mapping[str, Any]) -> float:
    """Confidence of intervals in the tables of a sweep, from the content of its ``sweep.json``."""
    return content["base"]["evaluation"].get("confidence", EvaluationConfig.confidence)


class SweepFolder(Folder):
    """Paths and files of a sweep."""

    DEPTH = 2 + GroupFolder.DEPTH  # groups/NAME, and the folders of that group

    def __init__(self, path: str | os.PathLike):
        super().__init__(path)
        self.sweep = self.path / SWEEP_FILE
        self.provenance = self.path / PROVENANCE_FILE
        self.table = self.path / MEMBERS_FILE
        self.best = self.path / "best.csv"
        self.success = self.path / "success.csv"
        self.differences = self.path / "differences.csv"
        self.figures = self.path / "figures"
        self.report = self.path / REPORT_FILE

    def group(self, name: str) -> GroupFolder:
        """The folder of one group."""
        return GroupFolder(self.path / GROUPS / name)

    @by_main
    def open(
        self, content: dict[str, Any], first: Experiment, *, here: bool = True
    ) -> dict[str, Any]:
        """Make the folder a sweep's, unless it is a sweep's already.

        Args:
            content: Content of ``sweep.json``; see `read`.
            first: Experiment of a member, for ``provenance.json``.
            here: Whether this process computes the sweep, so that its devices are noted.

        Returns:
            Content of ``sweep.json`` afterwards: `content`, or that of another sweep.

        Raises:
            UserError: If it holds other files than a sweep's, or cannot be made.
        """
        self.check_own("sweep", (self.sweep.name,))
        if not self.sweep.exists():
            self.make()
            # Of two sweeps that begin here at once, the second has to find the first one's file.
            with held(self.path, "opening"):
                if not self.sweep.exists():
                    others = [m["model.mixer"] for m in content["members"] if "model.mixer" in m]
                    write_json(self.provenance, provenance(first, here=here, mixers=others))
                    write_json(self.sweep, content)
                    return content
        return self.read()

    def read(self) -> dict[str, Any]:
        """Content of ``sweep.json``.

        ``base`` (a config), ``members`` (the changes of each: field -> value) and ``groups``
        (``name``, ``title`` and numbers of the ``members`` of each); ``hashes``, of the content of
        each member's files, if they are not those of the base config.

        Raises:
            UserError: If the folder holds no sweep, or the file is damaged.
        """
        if not self.sweep.exists():
            raise UserError(f"{self.path} holds no sweep (no sweep.json): give a sweep's workdir")
        self.check_links()
        values = read_json(self.sweep, SWEEP, remedy=AS_IT_WAS)
        members = len(values["members"])
        if not values["groups"]:
            raise damaged(self.sweep, "it has no groups", AS_IT_WAS)
        if "hashes" in values and len(values["hashes"]) != members:
            what = f"it has {len(values['hashes'])} hashes of {members} members"
            raise damaged(self.sweep, what, AS_IT_WAS)
        for group in values["groups"]:
            # Its name is a folder's: one that leads elsewhere is nobody's.
            if not PLAIN.fullmatch(group["name"]):
                raise damaged(self.sweep, f"a group is named {group['name']!r}", AS_IT_WAS)
            if not group["members"] or max(group["members"]) >= members:
                what = f"group {group['name']} has members {group['members'][:10]} of {members}"
                raise damaged(self.sweep, what, AS_IT_WAS)
        return values

    @by_main
    def note_places(self, moved: Mapping[str, Any]) -> None:
        """Note where the files of the sweep lie by now, for itself and for all of its members.

        Args:
            moved: Content of ``sweep.json`` with these places.
        """
        content, places = self.read(), json.loads(json.dumps(moved))
        base = content["base"] | {"task": places["base"]["task"]}
        own = {name: places[name] for name in ("members", "hashes") if name in places}
        pairs = zip(content["groups"], places["groups"], strict=True)
        own["groups"] = [{**group, "title": now["title"]} for group, now in pairs]
        if (noted := content | own | {"base": base}) != content:
            write_json(self.sweep, noted)

    def groups(self) -> list[GroupFolder]:
        """The folders of all groups, in order.

        Raises:
            UserError: If the folder holds no sweep.
        """
        return [self.group(group["name"]) for group in self.read()["groups"]]
