"""Programs and configs: next to the package in a clone, inside it after an installation.

A wheel has ``launch/`` and ``configs/`` in ``mecheval_jax/shipped``, so that the package's own name
is the only top-level one in a user's environment; the same files are read in both cases.
"""

import ast
import pathlib
import re
import sys
from collections.abc import Sequence

from mecheval_jax.errors import choose

COMMAND = "mecheval"
"""Name of the console command, whose subcommands are the programs."""

CONFIG = "config"
"""Name of the flag for the config file, in every program that has one."""

WORKDIR = "workdir"
"""Name of the flag for the folder of a run or sweep, likewise."""

_SHIPPED = pathlib.Path(__file__).parent / "shipped"

ROOT = _SHIPPED if _SHIPPED.is_dir() else pathlib.Path(__file__).parents[1]
"""Folder that has ``launch`` and ``configs``."""


def command(program: str) -> str:
    """The command by which a user starts a program, for messages."""
    return f"{COMMAND} {program}" if ROOT == _SHIPPED else f"python -m launch.{program}"


def child_command(program: str) -> list[str]:
    """The command by which this process starts a program in another one, from any folder."""
    return [sys.executable, "-m", __package__, program]


def running() -> str | None:
    """Name of the program that this process runs; None for others, such as a notebook."""
    started = sys.argv[0]
    subcommand = started.removeprefix(f"{COMMAND} ")
    file = pathlib.PurePath(started)
    name = subcommand if subcommand != started else file.stem
    ours = subcommand != started or file.parent.name == "launch"
    return name if ours and name in names() else None


def without_flags(arguments: Sequence[str], names: Sequence[str]) -> list[str]:
    """Arguments of a program without some flags and their values."""
    kept, skip = [], False
    for argument in arguments:
        name, given, _ = argument.lstrip("-").partition("=")
        dropped = argument.startswith("-") and name in names
        if not (skip or dropped):
            kept.append(argument)
        skip = dropped and not given and not skip
    return kept


def in_users_words(text: str) -> str:
    """A text with the commands of a clone replaced by those of the user's installation."""
    return re.sub(r"python -m launch\.(\w+)", lambda match: command(match[1]), text)


def names() -> list[str]:
    """Names of all programs, sorted."""
    return sorted(path.stem for path in (ROOT / "launch").glob("[!_]*.py"))


def documentation(program: str) -> str:
    """The docstring of a program: its purpose, with an example."""
    source = (ROOT / "launch" / f"{program}.py").read_text(encoding="utf-8")
    return ast.get_docstring(ast.parse(source)) or ""


def config_names() -> list[str]:
    """Names of all configs, such as ``recall`` or ``study/ar_layers``, sorted."""
    folder = ROOT / "configs"
    return sorted(
        path.relative_to(folder).with_suffix("").as_posix()
        for path in folder.rglob("*.py")
        if "def get_config" in path.read_text(encoding="utf-8")
    )


def config_file(text: str) -> str:
    """The file of a config, with its arguments.

    Args:
        text: A path or the name of a config that comes with the package, in both cases with
            arguments after a colon: ``configs/recall.py:width=64``, ``recall:width=64``.

    Returns:
        A path, with the same arguments; relative to the current folder if it lies inside.

    Raises:
        UserError: If there is no such file or config; the message names the existing ones.
    """
    name, colon, arguments = text.partition(":")
    if pathlib.Path(name).is_file():
        return text
    known = name.removeprefix("configs/").removesuffix(".py")
    if known not in config_names():
        as_file = name.startswith("configs") or name.endswith(".py")
        form = "configs/{}.py" if as_file else "{}"
        choose("config", name, map(form.format, config_names()))
    path = ROOT / "configs" / f"{known}.py"
    here = pathlib.Path.cwd()
    path = path.relative_to(here) if path.is_relative_to(here) else path
    return f"{path}{colon}{arguments}"
