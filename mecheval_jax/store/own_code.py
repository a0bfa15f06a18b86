"""The code of mixers of one's own: its files, and copies of them beside what was trained with it.

A training that goes on with other code than it began with is of no model: it is refused. What is
measured of a finished one after its code was edited is of the mixer as it is now, which is said.
"""

import ast
import importlib.util
import os
import pathlib
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from importlib.machinery import ModuleSpec
from typing import Any

import mecheval_jax
from mecheval_jax import trust
from mecheval_jax.checksums import sha256_of
from mecheval_jax.console import say
from mecheval_jax.errors import UserError
from mecheval_jax.files import read_text, write_text
from mecheval_jax.partitioning.multihost import by_main

FOLDER = "own_code"
"""Folder in that of a run or of a group with copies of the files, named by their modules."""

INSTALLED = ("stdlib", "platstdlib", "purelib", "platlib")
"""Where Python has what is nobody's own; beside it this package."""

_said: set[tuple[str, str]] = set()
"""Folders and mixers of which it was said that their code has changed."""


def hashes(mixer: str) -> dict[str, str]:
    """Hash of the code of each mixer that a model names by its import path, and has imported.

    Args:
        mixer: Value of ``model.mixer``.
    """
    found = {name: _files(name) for name in trust.imports_of(mixer)}
    return {name: sha256_of(files.values()) for name, files in found.items() if files}


def python_path(mixer: str) -> str:
    """Folders that Python has to search for a model's own mixers, as of ``PYTHONPATH``; or nothing.

    Args:
        mixer: Value of ``model.mixer``, whose modules have been imported.
    """
    folders = []
    for name in trust.imports_of(mixer):
        module = name.partition(":")[0]
        file = getattr(sys.modules.get(module), "__file__", None)
        if file is not None:
            file = pathlib.Path(file)
            inside = module.count(".") + (file.name == "__init__.py")  # a package is its folder
            folders.append(_as_typed(file.parents[inside]))
    return os.pathsep.join(dict.fromkeys(folders))


def _as_typed(folder: pathlib.Path) -> str:
    """A folder as one would type it here: relative where it is below this one."""
    here = pathlib.Path.cwd()
    return str(folder.relative_to(here) if folder.is_relative_to(here) else folder)


def say_what_changed(mixer: str, known: Mapping[str, Any], folder: pathlib.Path) -> None:
    """Say of which mixers the code is another than when a run was begun, once for each.

    Args:
        mixer: Value of ``model.mixer`` of the run.
        known: Its ``provenance.json``.
        folder: Its folder.
    """
    before = known.get(FOLDER, {})
    for name, now in hashes(mixer).items():
        if before.get(name, now) != now and (str(folder), name) not in _said:
            _said.add((str(folder), name))
            say(
                f"{folder}: the code of {name} has changed since this run was begun; what is "
                "measured from here on is of the mixer as it is now"
            )


@by_main
def keep(mixer: str, folder: pathlib.Path, step: int) -> None:
    """Copy the code of mixers into the folder of a training, or check that it is the same.

    Args:
        mixer: Value of ``model.mixer``.
        folder: Folder of the training.
        step: Step from which it goes on; at step 0 it begins.

    Raises:
        UserError: If it goes on with other code than it began with.
    """
    for name in trust.imports_of(mixer):
        for module, file in _files(name).items():
            copy = folder / FOLDER / f"{module}.py"
            if not step or not copy.exists():
                copy.parent.mkdir(exist_ok=True)
                write_text(copy, read_text(file))
            elif sha256_of([copy]) != sha256_of([file]):
                raise UserError(
                    f"{folder}: the code of {name} has changed since this training began, and it "
                    f"is at step {step:,}: put {file} back as it was, which {copy} is a copy of, "
                    "or choose another workdir"
                )


def _files(name: str) -> dict[str, pathlib.Path]:
    """Files of a mixer's own code by module: the one that its path names, then those it imports.

    Whether an import has been carried out makes no difference: one inside a function is not, in a
    program that only reads what was found. Without the first module there are none.
    """
    first = name.partition(":")[0]
    files: dict[str, pathlib.Path] = {}
    waiting = [first] if first in sys.modules else []
    while waiting:
        module = waiting.pop(0)
        spec = None if module in files else _spec_of(module)
        if spec is None or not spec.origin or not _is_own(spec.origin):
            continue
        files[module] = pathlib.Path(spec.origin)
        waiting += sorted(_imported(files[module], module, spec))
    return files


def _spec_of(module: str) -> ModuleSpec | None:
    """Where a module is; None of another name in one, as imports from it have."""
    parent = module.rpartition(".")[0]
    if module not in sys.modules and parent and parent not in sys.modules:
        above = _spec_of(parent)
        if above is None or not above.origin or not _is_own(above.origin):
            return None  # to look into a library would import it
    try:
        return importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None


def _is_own(file: str) -> bool:
    """Whether a file is Python source that is neither installed nor of this package."""
    path = pathlib.Path(file).resolve()
    others = [pathlib.Path(sysconfig.get_path(name)).resolve() for name in INSTALLED]
    others.append(pathlib.Path(mecheval_jax.__file__).resolve().parent)
    return path.suffix == ".py" and path.is_file() and not any(map(path.is_relative_to, others))


def _imported(file: pathlib.Path, module: str, spec: ModuleSpec) -> Iterator[str]:
    """Names of modules that a module imports anywhere; some may be names of other things in one."""
    try:
        tree = ast.parse(read_text(file))
    except (SyntaxError, ValueError):  # it was edited since it was imported
        return
    package = spec.parent or module
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            dots = "." * node.level + (node.module or "")
            try:
                base = importlib.util.resolve_name(dots, package)
            except ImportError:  # out of the package: the module goes on without it
                continue
            yield from (base, *(f"{base}.{alias.name}" for alias in node.names))
