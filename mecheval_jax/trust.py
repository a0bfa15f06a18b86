"""What the folder of a run may do: it may come from anywhere, and is data.

A config file is a program, and its user starts it. The ``config.json`` of a folder may name a
module to import (``model.mixer``, ``module:Class``): such a name is known once its user has trained
with it, or has allowed it. A task may name a file of data, which is read where it lies in the
folder, or has the hash that the config gives, so that whoever made the folder had it, too. Links in
a folder may lead out of it, so that what is written there would take the place of other files: they
are followed where its user allows it.
"""

import os
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

from mecheval_jax import machine
from mecheval_jax.errors import UserError
from mecheval_jax.fields import between_commas
from mecheval_jax.files import add_to_cache, read_cache

ALLOWED = "MECHEVAL_JAX_ALLOW_CODE"
"""Variable that allows all, for this program and those that it starts."""

FLAG = "allow_code"
"""Flag that does, of every program."""

_known: set[str] = set()
_own_files: set[str] = set()


def allow_code() -> None:
    """Let folders name code that is then imported, and have links out of them, from here on."""
    os.environ[ALLOWED] = "1"


def remember(mixer: str) -> None:
    """Take note of the code that a user's own config names, for later programs too."""
    new = {*imports_of(mixer)} - _known
    _known.update(new)
    if new - _remembered():
        add_to_cache(_file(), {"mixers": sorted(new | _remembered())})


def check(mixer: Any, source: pathlib.Path) -> None:
    """Check that the code which a file names may be imported.

    Args:
        mixer: Value of ``model.mixer`` there.
        source: The file.

    Raises:
        UserError: If its user has neither used nor allowed it.
    """
    unknown = [path for path in imports_of(mixer) if path not in _known]
    unknown = [path for path in unknown if path not in _remembered()]
    if unknown and not _is_allowed():
        raise UserError(
            f"{source} names code that you have not trained with, {', '.join(unknown)}: reading it "
            f"would run that code; give --{FLAG} (in Python {__name__}.allow_code()) if you "
            "trust it"
        )


def use_files(paths: Iterable[str]) -> None:
    """Take note of the files that the config of this program's own user names."""
    _own_files.update(map(os.path.realpath, paths))


def check_files(hashes: Mapping[str, Any], source: pathlib.Path) -> None:
    """Check that the files of data which a file of a folder names may be read.

    Args:
        hashes: Paths that are named there, each with the hash that the content must have; empty
            where none is given.
        source: The file.

    Raises:
        UserError: If one lies outside the folder, without a hash, and its user has neither named
            nor allowed it.
    """
    folder = os.path.realpath(source.parent)
    for path, wanted in hashes.items():
        if "\0" in path or wanted or _is_allowed():  # no path has a zero, so nothing is read
            continue
        place = os.path.realpath(path)
        if place not in _own_files and os.path.commonpath([folder, place]) != folder:
            raise UserError(
                f"{source} names a file outside of its folder, {path}, without the hash that it "
                f"must have: give --{FLAG} (in Python {__name__}.allow_code()) if you trust it"
            )


def check_links(folder: pathlib.Path, depth: int) -> None:
    """Check that no link in a folder leads out of it.

    Args:
        folder: The folder, which may itself be reached by a link.
        depth: Number of levels of folders in it that are looked at, beside its own.

    Raises:
        UserError: If one does, and its user has not allowed it; the message names the first.
    """
    root = _resolved(folder)
    for place, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = pathlib.Path(place, name)
            if not path.is_symlink() or _is_allowed():
                continue
            if not (leads_to := _resolved(path)).is_relative_to(root):
                raise UserError(
                    f"{folder / path.relative_to(root)} is a link that leads out of the folder, to "
                    f"{leads_to}: give --{FLAG} (in Python {__name__}.allow_code()) if you trust it"
                )
        if len(pathlib.Path(place).relative_to(root).parts) >= depth:
            folders.clear()  # which os.walk would go into


def _resolved(path: pathlib.Path) -> pathlib.Path:
    """Where a path leads; of links in a circle, which lead nowhere, one of them.

    `pathlib.Path.resolve` ends at these with an error that is none of the system's.
    """
    return pathlib.Path(os.path.realpath(path))


def _is_allowed() -> bool:
    return os.environ.get(ALLOWED) == "1"


def imports_of(mixer: Any) -> Iterable[str]:
    """The import paths, ``module:Class``, among the names of a value of ``model.mixer``."""
    return [name for name in between_commas(mixer) if ":" in name] if isinstance(mixer, str) else []


def _file() -> pathlib.Path:
    return machine.cache_folder() / "own_code.json"


def _remembered() -> set[str]:
    return set(read_cache(_file(), {"mixers": [str]}).get("mixers", ()))
