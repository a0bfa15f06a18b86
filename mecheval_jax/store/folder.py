"""A folder of results: what stands in it, whose it is, and who works on it."""

import contextlib
import os
import pathlib
from collections.abc import Collection

from mecheval_jax import trust
from mecheval_jax.errors import UserError, expect
from mecheval_jax.files import check_place, is_draft, make_workdir
from mecheval_jax.store.lock import PREFIX, clear, lock

PROVENANCE_FILE, MACHINE_FILE = "provenance.json", "machine.json"
"""Files that are written first: a folder with nothing else was interrupted, or is about to be
written by another process."""

CONFIG_FILE, MEMBER_FILE, METRICS_FILE = "config.json", "member.json", "metrics.jsonl"
"""Files of a run: its experiment, its place in a group if it is a member, and its metrics."""

MEMBERS_FILE, REPORT_FILE = "members.csv", "report.html"
"""The table of the members of a sweep, or of a group of one, and the page of whatever has one."""

SWEEP_FILE = "sweep.json"
"""File by which the folder of a sweep is known."""

GROUPS = "groups"
"""Folder of a sweep that has its groups, in whose folders those of the members are."""

MEMBERS = "members"
"""Folder of a group that has the folders of its members."""

CHECKPOINTS, TABLES, JOBS = "checkpoints", "tables", "jobs"
"""Folders of what was trained, of a report's tables, and of the logs of processes."""


FILES = (".csv", ".html", ".json", ".jsonl", ".npz")
"""Endings of the files that programs write into a folder; none of its own folders has one."""


class Folder:
    """Folder by its path.

    Args:
        path: Path of the folder.
    """

    DEPTH = 2
    """Levels of folders in it: ``tables/`` in that of a run, ``parts/RUNG`` in a ladder's."""

    def __init__(self, path: str | os.PathLike):
        expect("the workdir", path, (str, os.PathLike), "the path of a folder")
        self.path = pathlib.Path(path)

    @property
    def name(self) -> str:
        """The folder's own name, by which tables know what it holds."""
        return self.path.absolute().name

    def contents(self) -> set[str]:
        """Names of what stands there, but for locks, hidden files and those that are unfinished.

        Raises:
            UserError: If a file has the folder's path; see also `check_places`.
        """
        if not self.path.exists():
            return set()
        if not self.path.is_dir():
            raise UserError(f"workdir {self.path} is a file")
        self.check_places()
        names = (path.name for path in self.path.iterdir() if not is_draft(path))
        return {name for name in names if not name.startswith((".", PREFIX))}

    def check_own(self, what: str, known_by: Collection[str]) -> None:
        """Refuse a folder in which something else stands.

        Args:
            what: What the program writes.
            known_by: Names of files and folders, any of which tells that this is such a folder.

        Raises:
            UserError: If it has other files and none of these; see also `contents`.
        """
        there = self.contents() - {PROVENANCE_FILE, MACHINE_FILE}
        # Looked at afterwards: another process may write its first files meanwhile.
        if there and not any((self.path / name).exists() for name in known_by):
            raise UserError(
                f"workdir {self.path} is not empty and holds no {what}, but "
                f"{', '.join(sorted(there)[:3])}: choose another"
            )

    def lock(self, work: str) -> contextlib.AbstractContextManager[None]:
        """Keep other programs off the folder; see `store.lock.lock` and `check_places`."""
        self.check_places()
        return lock(self.path, work)

    def clear_lock(self, work: str) -> None:
        """Remove the file of a lock that a kill left behind; see `store.lock.clear`."""
        clear(self.path, work)

    def check_places(self) -> None:
        """Refuse a folder into which files could not be written, before there is anything to write.

        Raises:
            UserError: If a folder or a pipe stands in place of one, or a link leads elsewhere.
        """
        self.check_links()
        for path in self.path.glob("*"):
            if path.suffix in FILES:
                check_place(path)

    def check_links(self) -> None:
        """Refuse a folder in which a link leads out of it; see `trust.check_links`."""
        trust.check_links(self.path, self.DEPTH)

    def make(self) -> None:
        """Make the folder, unless it is there.

        Raises:
            UserError: If it cannot be made.
        """
        make_workdir(self.path)
