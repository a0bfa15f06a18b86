"""Metrics over training steps: ``metrics.jsonl``, ``metrics.csv`` and the trackers.

A row is ``{"step": 100, "split": "dev", "loss": 0.3, "accuracy": 0.9}``; one of a sweep has its
``member`` too. ``metrics.jsonl`` and ``metrics.csv`` always hold all rows; TensorBoard, W&B and
MLflow (`mecheval_jax.store.trackers`) get them as well if a user asks for it.
"""

import contextlib
import csv
import json
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import NoneType
from typing import Any, Protocol, TextIO, runtime_checkable

from mecheval_jax.console import say
from mecheval_jax.errors import UserError, one_line, several
from mecheval_jax.files import check_place, damaged, gone, open_file, write_text
from mecheval_jax.forms import COUNT
from mecheval_jax.partitioning.multihost import by_main, is_main
from mecheval_jax.store.columns import METRICS
from mecheval_jax.store.folder import METRICS_FILE
from mecheval_jax.store.trackers import TRACKERS, check_trackers

Row = Mapping[str, float | int | str]

Curves = Mapping[int, Sequence[Mapping[str, Any]]]
"""Rows of metrics on dev documents, by the number of the member."""


def read_rows(
    metrics: pathlib.Path, part: str = "", members: range | None = None
) -> list[dict[str, Any]]:
    """Rows of a ``metrics.jsonl``; a last line that was cut off is passed over.

    Args:
        metrics: Path of the file; without a file there are no rows.
        part: Text that a line must contain; other lines, usually most of them, are not parsed.
        members: Numbers of which every row must have one as its ``member``; None where rows are of
            a single run.

    Raises:
        UserError: If a whole line is damaged, or the file cannot be read.
    """
    if not metrics.exists():
        return []
    rows, wanted = [], part.encode()
    with open_file(metrics) as file:  # line by line: those of a large sweep are many
        for number, line in enumerate(file, 1):
            if wanted not in line:
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                row = None
            # Without a member it is of none: for None a range would be searched number by number.
            if _is_row(row) and (members is None or row.get("member", -1) in members):
                rows.append(row)
            elif line.endswith(b"\n"):
                of = "" if members is None else " of a member"
                raise damaged(metrics, f"line {number} is no row{of}", "remove that line")
    return rows


def _is_row(row: Any) -> bool:
    """Whether a line has the fields that are written; scores of a diverged run may be NaN."""
    return (
        isinstance(row, dict)
        and type(row.get("step")) is int
        and row["step"] in COUNT
        and isinstance(row.get("split"), str)
        and type(row.get("member", 0)) is int
        and all(_is_score(row.get(name)) for name in METRICS[2:])
    )


def _is_score(value: Any) -> bool:
    """Whether a value can be a score: JSON has whole numbers that no float holds."""
    if isinstance(value, int):
        return abs(value) <= 2**53
    return isinstance(value, (float, NoneType))


def dev_rows(metrics: pathlib.Path, members: range | None = None) -> list[dict[str, Any]]:
    """Rows of evaluations on dev documents whose accuracy is a number; see `read_rows`."""
    rows = ((row, row.get("accuracy")) for row in read_rows(metrics, '"dev"', members))
    return [row for row, found in rows if found is not None and found == found]  # no NaN


def last_dev(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The last evaluation on dev documents among the rows of a run; empty if there is none."""
    return next((row for row in reversed(rows) if row["split"] == "dev"), {})


def by_member(rows: Iterable[dict[str, Any]]) -> dict[int, list[dict[str, Any]]]:
    """Rows of a group by the number of the member, each in their order."""
    found: dict[int, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["member"], []).append(row)
    return found


def rise(rows: Sequence[Mapping[str, Any]], floor: float) -> tuple[int, int] | None:
    """The evaluations between which a training rose for good half way above its floor.

    Args:
        rows: Rows of evaluations of one run, in the order of their steps.
        floor: Accuracy that is had without recall.

    Returns:
        The last step at which the accuracy was less than half way from the floor to the last
        accuracy, 0 if there is none, and the step of the evaluation after it. None if the last
        accuracy is not above the floor.
    """
    if not rows or not rows[-1]["accuracy"] > floor:
        return None
    half = (floor + rows[-1]["accuracy"]) / 2
    below = [index for index, row in enumerate(rows) if row["accuracy"] < half]
    after = below[-1] + 1 if below else 0
    return (int(rows[after - 1]["step"]) if after else 0, int(rows[after]["step"]))


def write_rows(metrics: pathlib.Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a new ``metrics.jsonl``, completely or not at all."""
    write_text(metrics, "".join(f"{json.dumps(row)}\n" for row in rows))


@by_main
def forget_after(metrics: pathlib.Path, step: int) -> None:
    """Drop rows of steps that will be taken again, from ``metrics.jsonl``.

    ``metrics.csv`` is written anew from it when a run opens it. A file that is gone, which stands
    there from a run's first step on, is told: the curves lack what was in it.
    """
    if metrics.exists():
        write_rows(metrics, [row for row in read_rows(metrics) if row["step"] <= step])
    elif step:
        say(f"warning: {metrics} is gone, with the curves up to step {step:,}")


@runtime_checkable
class Writer(Protocol):
    """Receiver of rows of metrics, in order."""

    def write(self, values: Row) -> None:
        """Add one row."""

    def close(self, completed: bool = True) -> None:
        """End after the last row.

        Args:
            completed: Whether the work came to its end; False if an error ended it. Trackers show
                it, files do not.
        """


class _RowFile:
    """Writer of a file; a subclass writes its rows."""

    _file: TextIO

    def close(self, completed: bool = True) -> None:
        """Close the file; it keeps no note of whether the work was `completed`."""
        self._file.close()


def _opened(path: pathlib.Path, mode: str) -> TextIO:
    """A file to write rows to, each of which ends as it is written.

    Raises:
        UserError: If a folder, or a pipe that would be waited for, stands in its place.
    """
    check_place(path)
    return path.open(mode, newline="", encoding="utf-8")


class JsonLines(_RowFile):
    """Appends rows to a JSONL file, each flushed, so that a kill loses none.

    Args:
        path: Path of the file.
    """

    def __init__(self, path: pathlib.Path):
        self._path, self._file = path, _opened(path, "a")

    def write(self, values: Row) -> None:
        """Append one row.

        Raises:
            UserError: If the file was removed or moved, so that nobody would find the row.
        """
        ours = os.fstat(self._file.fileno())
        if not (self._path.exists() and os.path.samestat(ours, self._path.stat())):
            raise UserError(gone(self._path))
        self._file.write(json.dumps(dict(values)) + "\n")
        self._file.flush()


class CommaSeparated(_RowFile):
    """The same rows as a CSV file with a fixed header; a missing value is an empty cell.

    The file is written anew each time, from the rows that exist: incomplete rows after a kill, and
    rows of steps that will be taken again, disappear from it as they do from ``metrics.jsonl``.

    Args:
        path: Path of the file.
        rows: Rows that exist already.
        members: Whether rows have a ``member``.
    """

    def __init__(self, path: pathlib.Path, rows: Iterable[Row] = (), members: bool = False):
        columns = (*METRICS[:2], "member", *METRICS[2:]) if members else METRICS
        self._file = _opened(path, "w")
        self._rows = csv.DictWriter(self._file, columns, restval="", lineterminator="\n")
        self._rows.writeheader()
        # Fields that somebody has added to metrics.jsonl are no columns.
        self._rows.writerows({k: row[k] for k in columns if k in row} for row in rows)
        self._file.flush()

    def write(self, values: Row) -> None:
        """Append one row.

        Raises:
            ValueError: If the row has a field that is not a column.
        """
        self._rows.writerow(values)
        self._file.flush()


class Writers:
    """Several writers as one, and a context manager that closes them.

    Args:
        files: Writers of files on this disk; their errors end the run.
        trackers: Trackers by their names. One that fails is reported and not used any more: a run
            must not be lost because of it.
    """

    def __init__(self, files: Sequence[Writer], trackers: Mapping[str, Writer]):
        self._files, self._trackers = tuple(files), dict(trackers)

    def write(self, values: Row) -> None:
        """Add one row to each."""
        for file in self._files:
            file.write(values)
        for name in list(self._trackers):
            tracker = self._trackers.pop(name)
            with _reported(name):
                tracker.write(values)
                self._trackers[name] = tracker

    def close(self, completed: bool = True) -> None:
        """Close each of them, once."""
        for file in self._files:
            file.close(completed)
        while self._trackers:
            name, tracker = self._trackers.popitem()
            with _reported(name):
                tracker.close(completed)

    def __enter__(self) -> "Writers":
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        self.close(completed=kind is None)


def open_writers(names: Sequence[str], folder: pathlib.Path, members: bool = False) -> Writers:
    """The writers of a run or of a group of a sweep; none on processes that do not write.

    Drop rows of steps that will be taken again before this (`forget_after`).

    Args:
        names: Names of trackers (`TRACKERS`) beside the two files.
        folder: Folder of the run or group, which gets ``metrics.jsonl``, ``metrics.csv`` and the
            trackers' own files (``trackers.json``, ``tensorboard/``, ...).
        members: Whether rows have a ``member``.

    Raises:
        UserError: If a name is unknown, or its package is not installed.
    """
    check_trackers(names)
    if not is_main():
        return Writers((), {})
    metrics = folder / METRICS_FILE
    rows = read_rows(metrics, members=COUNT if members else None)
    files = (JsonLines(metrics), CommaSeparated(folder / "metrics.csv", rows, members))
    step = max((int(row["step"]) for row in rows), default=0)
    trackers = {}
    for name in several(names):
        with _reported(name):
            trackers[name] = TRACKERS[name](folder, step)
    return Writers(files, trackers)


@contextlib.contextmanager
def _reported(name: str) -> Iterator[None]:
    """Turn the failure of a tracker into a warning."""
    try:
        yield
    except Exception as error:
        text = one_line(error) or type(error).__name__
        say(
            f"warning: {name} failed and gets no more metrics ({text}); "
            "metrics.jsonl and metrics.csv hold them all"
        )
