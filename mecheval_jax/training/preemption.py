"""Preemption: taking note of SIGTERM and Ctrl-C, and stopping all hosts at the same step."""

import itertools
import os
import signal
import threading
import time
from types import FrameType
from typing import Any

from jax.experimental import multihost_utils

from mecheval_jax.errors import Interrupted, TimeIsOver
from mecheval_jax.partitioning.multihost import is_multiprocess

# Several processes agree through jax on the number of the stop at which all of them end. No number
# may be used twice, so stops are counted for the whole process and not for each `Preemption`.
_stops = itertools.count(1)


class Preempted(Interrupted):
    """The run was asked to end, and saved what it had.

    Args:
        step: Step of the checkpoint.
    """

    def __init__(self, step: int):
        super().__init__(
            f"stopped; the checkpoint of step {step} is saved: the same command resumes"
        )


class Preemption:
    """Context manager that takes note of SIGTERM and SIGINT instead of dying of them.

    A single process has handlers while the context lasts, in the main thread alone (Python allows
    no other). A second SIGINT is not noted but raised, as KeyboardInterrupt: who presses Ctrl-C
    twice does not want to wait for what is saved. With several processes jax catches SIGTERM, from
    the start of the program on, and tells the others: `requested` then becomes true on all of them
    at the same call.

    Args:
        until: Time of `time.monotonic` from which on a single process is to end without a signal;
            None for never.

    Raises:
        TimeIsOver: At the end of the context, in place of another `Interrupted`, if that time has
            come, and no signal.
    """

    def __init__(self, until: float | None = None):
        self._noted, self._interrupted, self._until = False, False, until
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Preemption":
        if not is_multiprocess() and threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                # A shell makes what it starts in the background ignore SIGINT.
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        for number, handler in self._before.items():
            if handler is not None:  # as one has that was not set from Python
                signal.signal(number, handler)
        if isinstance(error, Interrupted) and self._is_over and not self._noted:
            raise TimeIsOver(str(error)) from error

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            if self._interrupted:
                raise KeyboardInterrupt
            self._interrupted = True
            os.write(2, b"\nsaving; Ctrl-C once more ends at once\n")
        self._noted = True

    def requested(self) -> bool:
        """Whether to save and end now; every process has to ask equally often."""
        return self.signalled() or (self._is_over and not is_multiprocess())

    def signalled(self) -> bool:
        """The same, but of signals alone: with no more to save, time that is over asks nothing."""
        if is_multiprocess():
            return multihost_utils.reached_preemption_sync_point(next(_stops))
        return self._noted

    @property
    def _is_over(self) -> bool:
        return self._until is not None and time.monotonic() >= self._until
