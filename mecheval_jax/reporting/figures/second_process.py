"""A second process that writes the formats of figures for which no page waits.

A page shows figures as SVG; PNG and PDF, for papers and talks, take longer than the SVG and are
written by a copy of the process in a block of `writing`, where the machine has a core for it. What
the copy does not come to, because it failed or was killed, is written at the end of the block, so
that the files are the same and an error is raised where the program expects it.
"""

import collections
import contextlib
import contextvars
import multiprocessing
import pickle
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from ctypes import c_int
from multiprocessing.connection import Connection
from typing import Any

from mecheval_jax import machine

_HELPER: contextvars.ContextVar["_Helper"] = contextvars.ContextVar("helper")


@contextlib.contextmanager
def writing() -> Iterator[None]:
    """Let `later` do its work in a copy of this process, and wait for it at the end of the block.

    A process in which other threads of Python run cannot be copied; nor is one that has one core,
    or another system than Linux. `later` does its work at once there. A program that has computed
    with jax should not come here: the threads of its backends are not seen.
    """
    helper = None
    if machine.usable_cores() > 1 and threading.active_count() == 1:
        with contextlib.suppress(OSError):  # no more processes, or no memory for one
            helper = _Helper()
    if helper is None:
        yield
        return
    token = _HELPER.set(helper)
    try:
        yield
    finally:
        _HELPER.reset(token)
        helper.end()
    helper.make_up()


def later(work: Callable[..., object], *arguments: Any) -> None:
    """Call a function: in the second process in a block of `writing`, else here and now.

    What cannot be pickled is done here, too, such as a figure of which matplotlib keeps a function
    (labels of bars have one).

    Args:
        work: Function of a module, whose result is not needed.
        *arguments: Its arguments; later changes to them have no effect.
    """
    helper, job = _HELPER.get(None), None
    if helper is not None:
        with contextlib.suppress(pickle.PicklingError, AttributeError, TypeError):
            job = pickle.dumps((work, arguments))
    if helper is None or job is None:
        work(*arguments)
    else:
        helper.take(job)


class _Helper:
    """The second process, and the jobs that it was given and has not done."""

    def __init__(self):
        context = multiprocessing.get_context("fork")
        self._owed = collections.deque[bytes]()
        self._counted = 0
        self._done = context.RawValue(c_int, 0)
        its_end, self._jobs = context.Pipe(duplex=False)
        process = context.Process(
            target=_serve, args=(its_end, self._jobs, self._done), daemon=True
        )
        with warnings.catch_warnings():
            # jax, and Python from 3.12 on, warn of copies of a process with threads. Those of numpy
            # take part in none of this, and no backend of jax has been started.
            warnings.simplefilter("ignore", RuntimeWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            process.start()
        its_end.close()
        self._process = process

    def take(self, job: bytes) -> None:
        """Give the process a job, and forget those that are done."""
        self._owed.append(job)
        with contextlib.suppress(OSError):  # it has ended: `make_up` does the job
            self._jobs.send_bytes(job)
        self._forget()

    def end(self) -> None:
        """Wait until the process has done its jobs, and end it."""
        self._jobs.close()
        self._process.join()
        self._forget()

    def make_up(self) -> None:
        """Do the jobs that the process has not done."""
        for job in self._owed:
            _do(job)

    def _forget(self) -> None:
        for _ in range(self._done.value - self._counted):
            self._owed.popleft()
            self._counted += 1


def _serve(jobs: Connection, other_end: Connection, done: Any) -> None:
    """Do the jobs that come in, and count them; the first error ends the process."""
    other_end.close()  # so that the end of the program is the end of its jobs
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the program
    with contextlib.suppress(Exception):  # raised again by `_Helper.make_up`
        while True:
            _do(jobs.recv_bytes())
            done.value += 1


def _do(job: bytes) -> None:
    work, arguments = pickle.loads(job)
    work(*arguments)
