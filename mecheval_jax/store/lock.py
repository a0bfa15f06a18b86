"""A folder that one program works on at a time.

A file in the folder, ``lock-training`` while one trains there, says who holds it: host, process,
since when. What keeps others off is the kernel's lock on that file, which ends with the process
that holds it, however that ends: a file that a kill leaves behind keeps nobody off.
"""

import contextlib
import datetime
import errno
import fcntl
import json
import os
import pathlib
import socket
import stat
import time
from collections.abc import Iterator
from typing import BinaryIO

from mecheval_jax.errors import UserError
from mecheval_jax.files import make_workdir
from mecheval_jax.partitioning.multihost import by_main, on_main

GLANCE = 0.3
"""Seconds for which a lock is tried: `held_by`, as of `launch.status`, holds it for a moment."""

PREFIX = "lock-"
"""First letters of the names of these files; a folder with no other files counts as empty."""


@contextlib.contextmanager
def lock(folder: pathlib.Path, work: str) -> Iterator[None]:
    """Keep other programs off a folder, which is made if it is missing.

    If several processes share the work, the first of them holds the lock. On a file system without
    locks other programs are not kept off.

    Args:
        folder: Folder that is worked on.
        work: What is done in it, one word: ``training``. Other work may go on beside it.

    Raises:
        UserError: If another process holds it; the message says which.
    """
    with contextlib.ExitStack() as stack:
        on_main(lambda: stack.enter_context(held(folder, work, GLANCE)))
        yield


def held_by(folder: pathlib.Path, work: str) -> str | None:
    """Who does this work in a folder now, in words; None if nobody does."""
    try:
        with _opened(folder / f"{PREFIX}{work}", os.O_RDONLY) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return _holder(file)
    except (OSError, UserError):  # there is no such file, or the file system has no locks
        pass
    return None


@by_main
def clear(folder: pathlib.Path, work: str) -> None:
    """Remove the file that a kill left behind, where nobody does this work any more."""
    if os.path.lexists(folder / f"{PREFIX}{work}"):
        with contextlib.suppress(UserError, OSError), held(folder, work, patience=0):
            pass  # the end of it removes the file


@contextlib.contextmanager
def held(folder: pathlib.Path, work: str, patience: float = 10.0) -> Iterator[None]:
    """Keep other programs off a piece of work that takes a moment; waits for theirs.

    Args:
        folder: Folder that is worked on; made if it is missing.
        work: What is done in it, one word: ``summary``.
        patience: Seconds after which another holder counts as one that will not end.

    Raises:
        UserError: If another process holds it for longer.
    """
    make_workdir(folder)
    path = folder / f"{PREFIX}{work}"
    file = _taken(path, patience)
    with file:
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        holder = {"work": work, "host": socket.gethostname(), "process": os.getpid(), "since": now}
        file.seek(0)
        file.truncate()
        file.write(json.dumps(holder).encode() + b"\n")
        file.flush()
        try:
            yield
        finally:
            # Removed while the lock is held, so that whoever opened the file meanwhile notices.
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


def _taken(path: pathlib.Path, patience: float) -> BinaryIO:
    """The file of a lock, which this process holds.

    Raises:
        UserError: If another holds it for so many seconds.
    """
    end = time.monotonic() + patience
    while True:
        file = _opened(path, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() < end:
                file.close()
                time.sleep(0.01)
                continue
            with file:
                raise UserError(
                    f"{path.parent} is being worked on by another program ({_holder(file)}): wait "
                    "for it, or end it"
                ) from None
        except OSError:  # of a file system without locks
            return file
        # The one who held it may have removed the file that was opened here.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        file.close()


def _opened(path: pathlib.Path, flags: int) -> BinaryIO:
    """The file of a lock, opened as `flags` of `os` say.

    A folder from elsewhere may have a link in its place, or a pipe: neither is opened, since what a
    link leads to would be written over, and a pipe waited for.

    Raises:
        UserError: If it is no file, or cannot be opened.
    """
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    except OSError as error:
        why = "it is a link" if error.errno == errno.ELOOP else error.strerror
        raise UserError(f"{path} cannot be opened: {why}") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UserError(f"{path} is no file: remove it")
    return os.fdopen(descriptor, "r+b" if flags & os.O_RDWR else "rb")


def _holder(file: BinaryIO) -> str:
    """Who holds a lock, in words."""
    file.seek(0)
    try:
        found = json.loads(file.read(10_000))
        return (
            f"{found['work']}, process {found['process']} on {found['host']} since {found['since']}"
        )
    except (ValueError, TypeError, KeyError, RecursionError):  # it has not written it yet
        return "which has only begun"
