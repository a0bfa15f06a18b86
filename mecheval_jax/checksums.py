"""Hashes: of values, of files, and those of a folder, which are compared when it is read.

A folder's stand in ``SHA256SUMS`` in it, as ``sha256sum`` writes and checks them.
"""

import hashlib
import json
import pathlib
import re
from collections.abc import Callable, Iterable
from typing import Any

from mecheval_jax.console import say
from mecheval_jax.errors import UserError
from mecheval_jax.files import damaged, open_file, read_text, write_text

SUMS = "SHA256SUMS"

LINE = re.compile(r"[0-9a-f]{64}  .+")


def hash_of(values: Any) -> str:
    """SHA-256 of values in JSON, in hexadecimal digits; the order of names does not count."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def sha256_of(paths: Iterable[pathlib.Path]) -> str:
    """Hash of the bytes of files, one after another.

    Raises:
        UserError: If one cannot be read.
    """
    digest = hashlib.sha256()
    for path in paths:
        with open_file(path) as file:
            while block := file.read(1 << 16):
                digest.update(block)
    return digest.hexdigest()


def write_sums(folder: pathlib.Path) -> None:
    """Write the hash of every file of a folder."""
    write_lines(folder, ((name, sha256_of([folder / name])) for name in _files(folder)))


def write_lines(folder: pathlib.Path, sums: Iterable[tuple[str, str]]) -> None:
    """Write the file of hashes of a folder from names, each with its hash."""
    write_text(folder / SUMS, "".join(f"{digest}  {name}\n" for name, digest in sums))


def read_sums(path: pathlib.Path) -> list[tuple[str, str]]:
    """Names that a file of hashes lists, each with its hash.

    Raises:
        UserError: If a line is no hash with a name.
    """
    lines = read_text(path).splitlines()
    for line in lines:
        if not LINE.fullmatch(line):
            raise damaged(path, f"it has a line {line[:20]!r}")
    return [(line[66:], line[:64]) for line in lines]


def check_sums(folder: pathlib.Path, is_read: Callable[[str], object]) -> None:
    """Check that the files of a folder are as they were when `write_sums` was called.

    Others may have come since, as those that a file manager leaves, but none that a reader of the
    folder looks for: it would be read unchecked.

    A folder without hashes, of version 0.4 or before, is let through, and that is said.

    Args:
        folder: The folder.
        is_read: Function that says whether the folder's reader looks for files of a name, a path
            relative to the folder, whatever the other files say.

    Raises:
        UserError: If one has changed, is gone, or was added to those that are read; the message
            names the first.
    """
    sums = folder / SUMS
    if not sums.exists():
        say(
            f"{folder} has no {SUMS}, as of version 0.4 or before: whether its files are what was "
            "written cannot be told"
        )
        return
    expected = dict(read_sums(sums))
    there = {name for name in _files(folder) if name in expected or is_read(name)}
    for name in sorted(expected.keys() | there):
        # Names of the folder's own files alone are opened, whatever else is listed.
        if name not in there:
            raise UserError(f"{name} is gone")
        if name not in expected:
            raise UserError(f"{name} has no hash in {SUMS}")
        if sha256_of([folder / name]) != expected[name]:
            raise UserError(f"{name} is not what was written")


def _files(folder: pathlib.Path) -> list[str]:
    """Files of a folder and of those in it, as paths relative to it; links are none."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink())
    return [path.relative_to(folder).as_posix() for path in found if path.name != SUMS]
