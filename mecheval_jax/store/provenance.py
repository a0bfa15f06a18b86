"""Where the numbers of a run come from: versions, commit, device, and the command."""

import datetime
import importlib.metadata
import os
import pathlib
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import jax

import mecheval_jax
from mecheval_jax import programs
from mecheval_jax.experiment import Experiment
from mecheval_jax.partitioning.devices import device_name
from mecheval_jax.store import own_code

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")

PART = ("shard", "groups", "coordinator", "processes", "process_id")
"""Flags that say which part of the work a process does."""


def provenance(
    experiment: Experiment, *, here: bool = True, mixers: Iterable[str] = ()
) -> dict[str, Any]:
    """Content of ``provenance.json``.

    Args:
        experiment: Experiment of the run.
        here: Whether this process computes the run, so that its devices are noted.
        mixers: Values of ``model.mixer`` of other runs of the same command.
    """
    mixer = ",".join(dict.fromkeys([experiment.model.mixer, *mixers]))
    devices: dict[str, Any] = {}
    if here:
        device = jax.devices()[0]
        devices["device"] = {"platform": device.platform, "kind": device_name(device)}
        devices["device_count"] = jax.device_count()
    return {
        "versions": {"python": platform.python_version()} | versions(),
        "commit": _commit(),
        "platform": platform.platform(),
        **devices,
        "seed": experiment.training.seed,
        "data_seed": experiment.training.data_seed,
        "config_hash": experiment.fingerprint(),
        own_code.FOLDER: own_code.hashes(mixer),
        "python_path": own_code.python_path(mixer),
        "program": programs.running(),
        "arguments": sys.argv[1:],
        "folder": os.getcwd(),
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def command_of(known: Mapping[str, Any], program: str) -> str | None:
    """The command that made what a folder holds, for all of its work; None if no command did.

    Args:
        known: Content of ``provenance.json``.
        program: Program that is taken to have made it where the content does not name one, as it
            did not in earlier versions.
    """
    program, arguments = known.get("program", program), known.get("arguments")
    if program is None or arguments is None:
        return None
    whole = programs.without_flags(arguments, PART)
    command = f"{programs.command(program)} {shlex.join(whole)}"
    return found_from(known.get("python_path", ""), command)


def found_from(python_path: str, command: str) -> str:
    """A command as one types it where Python has to search other folders for mixers, too.

    Args:
        python_path: Those folders, as of ``PYTHONPATH``; empty if there are none.
        command: The command without them.
    """
    return f"PYTHONPATH={shlex.quote(python_path)} {command}" if python_path else command


def versions() -> dict[str, str]:
    """Versions of the packages that compute the numbers of a run."""
    installed = {package: importlib.metadata.version(package) for package in PACKAGES}
    return {"mecheval_jax": mecheval_jax.__version__} | installed


def _commit() -> str | None:
    """The commit of the source, with ``+changes`` if it was edited; None outside git."""
    here = pathlib.Path(__file__).parent

    def git(*arguments: str) -> str:
        result = subprocess.run(
            ["git", *arguments], cwd=here, capture_output=True, text=True, check=True, timeout=10
        )
        return result.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", __file__)  # or the repository around us is a user's
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain") else "")
    except (OSError, subprocess.SubprocessError):
        return None
