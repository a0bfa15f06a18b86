"""Where the numbers of a run come from: versions, commit, device, and the command."""

import datetime
import importlib.metadata
import os
import pathlib
import platform
import subprocess
import sys
from typing import Any

import jax

import mecheval_jax
from mecheval_jax.experiment import Experiment
from mecheval_jax.partitioning.devices import device_name

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def provenance(experiment: Experiment, *, here: bool = True) -> dict[str, Any]:
    """Content of ``provenance.json``.

    Args:
        experiment: Experiment of the run.
        here: Whether this process computes the run, so that its devices are noted.
    """
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
        "arguments": sys.argv[1:],
        "folder": os.getcwd(),
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


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
