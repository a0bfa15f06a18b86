"""What the machine may refuse a program, in the words of a user: one guard for all of it.

A full disk, a folder without permission or gone in the middle, too few open files, no memory, a
platform that is not there: whichever library meets one, the error says so in its chain or its text.
"""

import errno
import itertools
import os
import pathlib
import re
import tempfile
from collections.abc import Collection, Iterator

from mecheval_jax.errors import UserError, one_line

FEWEST_FILES = 256
"""Files that a program must be able to open at once; of fewer, checkpoints wait for ever."""

RESUMES = "then the same command goes on"

REMEDIES = {
    errno.ENOSPC: f"make room (df -h, df -i), {RESUMES}",
    errno.EDQUOT: f"your quota is used up: make room, {RESUMES}",
    errno.EACCES: "choose a folder that you may read and write",
    errno.EPERM: "choose a folder that you may read and write",
    errno.EROFS: "choose a folder on a file system that can be written",
    errno.EMFILE: f"raise the limit on open files (ulimit -n 4096), {RESUMES}",
    errno.ENFILE: f"the machine has too many open files: close some, {RESUMES}",
    errno.ENOENT: "it is not there, or was removed in the meantime",
    errno.ESTALE: f"the file system lost it: mount it again, {RESUMES}",
    errno.ENOTDIR: "a part of the path is a file",
    errno.EEXIST: "a folder has to be there, and it is a file",
    errno.EISDIR: "a file has to be there, and it is a folder",
    errno.ELOOP: "its links lead in a circle",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EIO: "the disk, or the network to it, fails: look at its state",
    errno.ENOMEM: f"the machine has no memory left: end other programs, {RESUMES}",
}
"""What to do about what the system says, by its number."""

MEMORY = "Out of memory"
"""What XLA says in most cases where a device, or the host, has none left."""

EXHAUSTED = "RESOURCE_EXHAUSTED"
"""What XLA says of anything that is used up; of memory unless it names another thing."""

SMALLER = "take a smaller model, batch or sweep, or a device with more memory"
"""What to do where there is no memory left."""

SAID = {
    "No space left on device": REMEDIES[errno.ENOSPC],
    "Disk quota exceeded": REMEDIES[errno.EDQUOT],
    "Too many open files": REMEDIES[errno.EMFILE],
    "Read-only file system": REMEDIES[errno.EROFS],
    "Permission denied": REMEDIES[errno.EACCES],
    "Input/output error": REMEDIES[errno.EIO],
    "NOT_FOUND: Error": REMEDIES[errno.ENOENT],
    "Unable to initialize backend": "set JAX_PLATFORMS to a platform of this machine, such as cpu",
    "for JAX flag": "unset that variable, or give it what jax takes",
    MEMORY: SMALLER,
    EXHAUSTED: SMALLER,
}
"""What to do about what libraries say in other errors, which have no number."""

PATH = re.compile(r"\"(/[^\"]+)\"")
"""A path in what a library says."""

NAMED = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST)
"""Numbers that mean something to a user only where the error names the file. Of a folder of files
that belong together they say that it is damaged, and not that the machine refuses it."""


def explain(
    error: BaseException, folder: object = None, passed_over: Collection[int] = ()
) -> UserError | None:
    """What the machine refused, in one line; None for an error of another kind.

    Args:
        error: Error that ends a program.
        folder: Folder of the program, which is named where the error names no file.
        passed_over: Numbers of `REMEDIES` that count as errors of another kind.
    """
    others = {REMEDIES[number] for number in passed_over}
    nowhere = "" if folder is None else f"{folder}: "
    for link in _chain(error):
        if isinstance(link, OSError) and link.errno in REMEDIES:
            if link.errno in passed_over or (link.errno in NAMED and link.filename is None):
                continue
            where = f"{os.fsdecode(link.filename)}: " if link.filename is not None else nowhere
            said = link.strerror or os.strerror(link.errno)
            return UserError(f"{where}{said}: {REMEDIES[link.errno]}")
        if isinstance(link, MemoryError):
            return UserError(f"no memory is left: {SMALLER}")
    for link in _chain(error):
        text = one_line(link)
        for words, remedy in SAID.items():
            if words in text and remedy not in others:
                path = PATH.search(text)
                said = f"{path[1]}: {words}" if path else f"{nowhere}{text[:300]}"
                return UserError(f"{said}: {remedy}")
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there is no memory left, on the host or on a device."""
    return any(
        isinstance(link, MemoryError)
        or (isinstance(link, OSError) and link.errno == errno.ENOMEM)
        or _says_out_of_memory(str(link))
        for link in _chain(error)
    )


def _says_out_of_memory(text: str) -> bool:
    """Whether a library's text means memory; files and disks can be used up, too."""
    others = SAID.keys() - {MEMORY, EXHAUSTED}
    return MEMORY in text or (EXHAUSTED in text and not any(words in text for words in others))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and those that it came from."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        # What was raised while another error was handled may be a fault of ours, unless the machine
        # raised it, too.
        came_along = isinstance(error, (OSError, MemoryError, RuntimeError))
        shown = None if error.__suppress_context__ or not came_along else error.__context__
        error = error.__cause__ or shown


def allow_open_files() -> None:
    """Raise the limit on open files as far as it goes without asking.

    Raises:
        UserError: If it is too low even so.
    """
    try:
        import resource
    except ImportError:  # a system that has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return
    if soft < hard:
        wanted = 4096 if hard == resource.RLIM_INFINITY else min(hard, max(soft, 4096))
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    if soft < FEWEST_FILES:
        raise UserError(
            f"the limit on open files is {soft}, and at least {FEWEST_FILES} are needed: "
            "raise it (ulimit -n 4096)"
        )


def usable_cores() -> int:
    """Number of cores that this process may use; 1 where the system does not say."""
    (all_of_them,) = shares_of_cores(1)
    return 1 if all_of_them is None else len(all_of_them)


def shares_of_cores(count: int) -> list[frozenset[int] | None]:
    """The cores that this process may use, divided into so many shares as even as they can be.

    Where there are fewer cores than shares, several shares are of the same core. A share is None
    where the system does not say which cores there are.
    """
    if not hasattr(os, "sched_getaffinity"):
        return [None] * count
    cores = sorted(os.sched_getaffinity(0))
    if count > len(cores):
        return [frozenset({cores[share % len(cores)]}) for share in range(count)]
    # Cores beside each other have caches in common, so they stay together.
    bounds = [len(cores) * share // count for share in range(count + 1)]
    return [frozenset(cores[start:stop]) for start, stop in itertools.pairwise(bounds)]


def cache_folder() -> pathlib.Path:
    """The user's folder for what can be made anew (``MECHEVAL_JAX_CACHE`` overrides it)."""
    override = os.environ.get("MECHEVAL_JAX_CACHE")
    if override:
        return pathlib.Path(override)
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        home = pathlib.Path(base) if base else pathlib.Path.home() / ".cache"
    except RuntimeError:  # an unknown user without a HOME
        home = pathlib.Path(tempfile.gettempdir()) / f"cache-{os.getuid()}"
    return home / "mecheval_jax"
