"""A second process that writes the formats of figures for which no page waits.

A page shows figures as SVG; PNG and PDF, for papers and talks, take longer than the SVG and are
written by a copy of the process in a block of `writing`, where the machine has a core for it. What
the copy does not come to, because it failed or was killed, is written at the end of the block, so
that the files are the same and an error is raised where the program expects it.
"""

import contextlib
import contextvars
import multiprocessing
import os
import pickle
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

_HELPER: contextvars.ContextVar["_Helper"] = contextvars.ContextVar("helper")


@contextlib.contextmanager
def writing() -> Iterator[None]:
    """Let `later` do its work in a copy of this process, and wait for it at the end of the block.

    A process that has several threads, as after a computation by jax, cannot be copied; nor is one
    where there is one core, or on another system than Linux. `later` does its work at once there.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    if cores < 2 or threading.active_count() > 1:
        yield
        return
    helper = _Helper()
    token = _HELPER.set(helper)
    try:
        yield
        helper.finish()
    finally:
        _HELPER.reset(token)
        helper.end()


def later(work: Callable[..., object], *arguments: Any) -> None:
    """Call a function: in the second process in a block of `writing`, else here and now.

    Args:
        work: Function of a module, whose result is not needed.
        *arguments: Its arguments, which can be pickled; later changes to them have no effect.
    """
    helper = _HELPER.get(None)
    if helper is None:
        work(*arguments)
    else:
        helper.take(pickle.dumps((work, arguments)))


class _Helper:
    """The second process, and the jobs that it was given."""

    def __init__(self):
        self._jobs: list[bytes] = []
        context = multiprocessing.get_context("fork")
        self._connection, its_end = context.Pipe()
        serve = context.Process(target=_serve, args=(its_end, self._connection), daemon=True)
        with warnings.catch_warnings():
            # jax warns of every copy of a process; this one has no threads, and does not use jax.
            warnings.simplefilter("ignore", RuntimeWarning)
            serve.start()
        its_end.close()
        self._process = serve

    def take(self, job: bytes) -> None:
        """Give the process a job."""
        self._jobs.append(job)
        with contextlib.suppress(OSError):  # it has ended: `finish` does the job
            self._connection.send_bytes(job)

    def finish(self) -> None:
        """Wait for the process, and do what it has not done."""
        done = 0
        with contextlib.suppress(EOFError, OSError):
            while done < len(self._jobs):
                self._connection.recv_bytes()
                done += 1
        for job in self._jobs[done:]:
            _do(job)

    def end(self) -> None:
        """End the process."""
        self._connection.close()
        self._process.kill()
        self._process.join()


def _serve(connection: Connection, other_end: Connection) -> None:
    """Do the jobs that come in and answer each; the first error ends the process."""
    other_end.close()  # so that the end of the program is the end of its jobs
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the program
    with contextlib.suppress(Exception):  # raised again by `_Helper.finish`
        while True:
            _do(connection.recv_bytes())
            connection.send_bytes(b"done")


def _do(job: bytes) -> None:
    work, arguments = pickle.loads(job)
    work(*arguments)
