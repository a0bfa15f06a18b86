"""Progress of long work: a bar on a terminal, plain lines elsewhere."""

import time
from typing import Any, TypeVar

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar

from mecheval_jax.console import CONSOLE, say

PLAIN_EVERY = 15.0
"""Seconds between two plain lines."""


Entered = TypeVar("Entered", bound="Shown")


class Shown:
    """Context manager around what a terminal shows while work is under way, and a file does not."""

    _shown: Any = None

    def _begin(self) -> Any:
        """What a terminal shows; it is started and stopped."""
        raise NotImplementedError

    def __enter__(self: Entered) -> Entered:
        if CONSOLE.is_terminal:
            self._shown = self._begin()
            self._shown.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._shown is not None:
            self._shown.stop()


class Progress(Shown):
    """Context manager that shows how far something is.

    Args:
        title: Name of what is under way.
        total: Steps in all.
        start: Steps done before.
    """

    def __init__(self, title: str, total: int, start: int = 0):
        self._title, self._total, self._start = title, total, start
        self._began = self._spoke = time.monotonic()

    def _begin(self) -> Bar:
        bar = Bar(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=CONSOLE,
        )
        self._task = bar.add_task(
            self._title, total=self._total, completed=self._start, note="", rate=""
        )
        return bar

    def advance(self, done: int, note: str = "") -> None:
        """So many steps are done in all."""
        now = time.monotonic()
        rate = (done - self._start) / max(now - self._began, 1e-9)
        per_second = f"{rate:.0f} steps/s" if rate >= 10 else f"{rate:.2f} steps/s"
        if self._shown is not None:
            self._shown.update(self._task, completed=done, note=note, rate=per_second)
        elif now - self._spoke >= PLAIN_EVERY or done >= self._total:
            self._spoke = now
            left = (self._total - done) / rate if rate > 0 else float("inf")
            words = (f"{done}/{self._total} steps", per_second, f"{left:.0f} s left", note)
            say(f"{self._title}: {', '.join(filter(None, words))}")
