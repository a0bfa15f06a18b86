"""Programs that get SIGKILL: after a time, or right before one of their changes to a folder.

``python -m tests.support.killed FOLDER CHANGE MODULE ARGUMENTS`` is ``python -m MODULE ARGUMENTS``
which is killed before its change of that number to files in the folder, counted from 1. With 0 it
comes to its end, and says how many changes there were.

A time hits what takes long, computing; a change hits the moments between two files that belong
together, which are short.
"""

import contextlib
import json
import os
import pathlib
import re
import runpy
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from tests.support import forked

CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "os.link")
"""Events of Python that change a folder, beside opening a file to write; their first argument is a
path."""

WRITING = os.O_WRONLY | os.O_RDWR

TIMED = {"seconds", "rate", "seconds_per_step", "attempts", "host", "process", "updated"}
"""Fields that say how long something took, or who did it: no two runs have the same."""


TIMES_OF_REPORTS = re.compile(
    r"\d{4}-\d\d-\d\dT[\d:+]+|(?<=<td>)(?:vmap|scan|loop)[^<]*</td>.*?</tr>", re.DOTALL
)
"""When a run began, and the end of a group's row: how long it took, and how often it was begun."""


class Whole(NamedTuple):
    """A program that came to its end.

    Attributes:
        seconds: Time that it took.
        changes: Number of changes to files in its folder.
    """

    seconds: float
    changes: int


def run_whole(folder: pathlib.Path, arguments: list[str]) -> Whole:
    """Run a program, ``launch.train --workdir=...``, to its end."""
    began = time.monotonic()
    done = forked.start(["-m", "tests.support.killed", str(folder), "0", *arguments])
    assert done.returncode == 0, done.stderr
    changes = re.search(r"^changes: (\d+)$", done.stderr, re.MULTILINE)
    assert changes, done.stderr
    return Whole(time.monotonic() - began, int(changes[1]))


def run_killed(
    folder: pathlib.Path, arguments: list[str], *, after: float | None = None, change: int = 0
) -> bool:
    """Run a program that is killed after so many seconds, or before one of its changes.

    Returns:
        Whether it was killed; it may have come to its end before.
    """
    command = ["-m", "tests.support.killed", str(folder), str(change), *arguments]
    done = forked.start(command, kill_after=after)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode != 0


def contents(
    folder: pathlib.Path, left_out: Callable[[pathlib.Path], bool]
) -> dict[str, bytes | Any]:
    """What stands in the files of a folder, drafts and locks among them, but for times.

    Args:
        folder: The folder.
        left_out: Whether a path, relative to the folder, does not count.
    """
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and not left_out(name):
            found[str(name)] = _without_times(path)
    return found


def _without_times(path: pathlib.Path) -> bytes | Any:
    text = path.read_bytes()
    if path.name == "report.html":
        return TIMES_OF_REPORTS.sub("", text.decode())
    if path.name == "status.json":
        return _timeless(json.loads(text))
    if path.name == "metrics.jsonl":
        return [_timeless(json.loads(line)) for line in text.splitlines()]
    return text


def _timeless(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in TIMED}


@contextlib.contextmanager
def _killing_before(number: int, folder: str) -> Iterator[None]:
    """Where this process ends before a change to a folder; with 0 the changes are counted."""
    seen = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING
        if not writes and event not in CHANGES:
            return
        path = arguments[0]
        if isinstance(path, (str, bytes, os.PathLike)) and os.fsdecode(path).startswith(folder):
            seen += 1
            if seen == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    try:
        yield
    finally:
        print(f"changes: {seen}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    _, place, change, module, *rest = sys.argv
    sys.argv = [module, *rest]
    with _killing_before(int(change), place):
        runpy.run_module(module, run_name="__main__", alter_sys=True)
