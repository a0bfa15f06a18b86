"""Progress of long work: a bar on a terminal, plain lines elsewhere, and the metrics of a run."""

import threading
import time
from collections.abc import Mapping
from typing import Any, TypeVar

from rich import progress

from mecheval_jax.console import CONSOLE, printable, say
from mecheval_jax.store.metrics import Writer
from mecheval_jax.training.callbacks import Standing
from mecheval_jax.training.state import NEVER

PLAIN_EVERY = 15.0
"""Seconds between two plain lines."""


Entered = TypeVar("Entered", bound="Shown")


class Shown:
    """Context manager for a display in a terminal while work is under way; files get none of it."""

    _shown: Any = None

    def _begin(self) -> Any:
        """The display of a terminal, which is started and stopped."""
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
    """Context manager that shows the progress of some work.

    Args:
        title: Name of the work.
        total: Number of all steps.
        start: Number of steps done before.
    """

    def __init__(self, title: str, total: int, start: int = 0):
        self._title, self._total, self._start = title, total, start
        self._spoke = time.monotonic()
        # Steps and time at the end of the first stretch, most of which goes into compiling.
        self._compiled: tuple[int, float] | None = None

    def _begin(self) -> progress.Progress:
        bar = progress.Progress(
            progress.TextColumn("{task.description}", markup=False),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TextColumn("{task.fields[rate]}"),
            progress.TimeElapsedColumn(),
            progress.TimeRemainingColumn(),
            progress.TextColumn("{task.fields[note]}", markup=False),
            console=CONSOLE,
        )
        self._task = bar.add_task(
            self._title, total=self._total, completed=self._start, note="", rate=""
        )
        return bar

    def __enter__(self) -> "Progress":
        super().__enter__()
        if self._shown is None:
            done = f"step {self._start:,} of {self._total:,}"
            say(f"{self._title}: {done}; first the programs are compiled")
        return self

    def advance(self, done: int, note: str = "") -> None:
        """Show that `done` of all steps are done.

        The rate is that of the stretches after the first.
        """
        now = time.monotonic()
        per_second = left = ""
        if self._compiled is None:
            self._compiled = done, now
        elif done > self._compiled[0]:
            rate = (done - self._compiled[0]) / max(now - self._compiled[1], 1e-9)
            per_second = f"{rate:.0f} steps/s" if rate >= 10 else f"{rate:.2f} steps/s"
            left = f"{(self._total - done) / rate:.0f} s left"
        if self._shown is not None:
            self._shown.update(self._task, completed=done, note=note, rate=per_second)
        elif now - self._spoke >= PLAIN_EVERY or done >= self._total:
            self._spoke = now
            words = (f"{done}/{self._total} steps", per_second, left, note)
            say(f"{self._title}: {', '.join(filter(None, words))}")


class Working(Shown):
    """Context manager that shows for how long work has been under way of which the end is unknown.

    Compiling and measuring are calls that report nothing until they return.

    Args:
        title: Name of the work.
    """

    def __init__(self, title: str):
        self._title = title
        self._done = threading.Event()

    def _begin(self) -> progress.Progress:
        spinner = progress.Progress(
            progress.SpinnerColumn(),
            progress.TextColumn("{task.description}", markup=False),
            progress.TimeElapsedColumn(),
            console=CONSOLE,
            transient=True,
        )
        spinner.add_task(printable(self._title), total=None)
        return spinner

    def __enter__(self) -> "Working":
        say(self._title)
        super().__enter__()
        if self._shown is None:
            threading.Thread(target=self._speak, daemon=True).start()
        return self

    def _speak(self) -> None:
        """Say now and then that the work goes on, until it is done."""
        start = time.monotonic()
        while not self._done.wait(PLAIN_EVERY):
            say(f"{self._title}: at work for {time.monotonic() - start:.0f} s")

    def __exit__(self, *error: object) -> None:
        self._done.set()
        super().__exit__(*error)


class RunCallbacks:
    """Callbacks of a single run, which write its metrics and show its progress.

    Args:
        writer: Writer of the metrics.
        progress: Progress of training.
        target: Accuracy at which training ends; None if it takes all steps.
        step: Number of steps taken before.
    """

    def __init__(self, writer: Writer, progress: Progress, target: float | None, step: int):
        self._writer, self._progress, self._target = writer, progress, target
        self._step, self._clock = step, time.monotonic()
        self._note = ""

    def record(self, values: Mapping[str, float | int | str]) -> None:
        """Write a row of metrics; one of a stretch of steps has the time of a single step."""
        row = {name: value for name, value in values.items() if name != "member"}
        if row["split"] == "train":
            now, step = time.monotonic(), int(row["step"])
            row["seconds_per_step"] = (now - self._clock) / (step - self._step)
            self._step, self._clock = step, now
            self._note = f"loss {row['loss']:.3f}"
        else:
            self._note += f", dev accuracy {row['accuracy']:.1%}"
        self._writer.write(row)

    def advance(self, standing: Standing) -> None:
        """Show the progress of training."""
        if standing.taken:
            self._progress.advance(standing.step, self._note)
        (at,) = standing.stopped_at
        if at != NEVER and self._target is not None:
            target = f"{100 * self._target:.15g}%"  # as it was given; 16 digits show the product
            self.say(f"the target of {target} on dev documents is reached at step {at}")

    def say(self, message: str) -> None:
        """Print a message."""
        say(message)
