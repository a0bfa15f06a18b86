"""Where numbers come from is told."""

import datetime
import importlib.machinery
import importlib.metadata
import importlib.util
import json
import re
import subprocess
import sys

from mecheval_jax.files import read_json
from mecheval_jax.store import provenance as module
from mecheval_jax.store.run_folder import RunFolder
from tests.support import small


def test_provenance(tmp_path):
    """Catches numbers whose origin cannot be told."""
    folder = RunFolder(tmp_path / "run")
    experiment = small.experiment(seed=3)
    folder.open(experiment)
    provenance = read_json(folder.provenance)
    assert provenance["config_hash"] == experiment.fingerprint()
    assert provenance["seed"] == 3
    assert {"python", "jax", "flax", "optax", "mecheval_jax"} <= set(provenance["versions"])
    for package in ("jax", "flax", "optax", "numpy", "orbax-checkpoint"):
        assert provenance["versions"][package] == importlib.metadata.version(package)
    assert provenance["device"]["platform"] == "cpu"
    assert provenance["device_count"] == 1
    assert provenance["data_seed"] == 0
    assert provenance["arguments"] == sys.argv[1:]
    assert provenance["program"] is None
    started = datetime.datetime.fromisoformat(provenance["started"])
    assert abs(datetime.datetime.now(datetime.UTC) - started) < datetime.timedelta(hours=1)
    commit = provenance["commit"]
    assert commit is None or re.fullmatch(r"[0-9a-f]{40}(\+changes)?", commit)
    assert folder.experiment() == experiment


def test_the_command_that_made_a_folder():
    """Catches the program guessed where it is known, as for sweeps of a study, and a job's part."""
    arguments = ["--scale=laptop", "--shard", "0/2", "--workdir=a b"]
    made = module.command_of({"program": "study", "arguments": arguments}, "sweep")
    assert made == "python -m launch.study --scale=laptop '--workdir=a b'"
    assert module.command_of({"arguments": ["--x=1"]}, "sweep") == "python -m launch.sweep --x=1"
    assert module.command_of({"program": None, "arguments": ["-q"]}, "sweep") is None
    assert module.command_of({"program": "sweep"}, "sweep") is None


def test_a_folder_opened_again_keeps_where_it_came_from(tmp_path):
    """Catches a resumed run that forgets by which versions it was begun."""
    folder = RunFolder(tmp_path / "run")
    folder.open(small.experiment())
    provenance = read_json(folder.provenance) | {"commit": "of the beginning"}
    folder.provenance.write_text(json.dumps(provenance))
    folder.open(small.experiment({"evaluation.documents": 17}))
    assert read_json(folder.provenance) == provenance
    assert folder.experiment().evaluation.documents == 17


def test_a_repository_around_the_package_is_not_ours(tmp_path, monkeypatch):
    """Catches the commit of a user's project, in whose environment the package is installed."""
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "theirs"], check=True)
    installed = tmp_path / ".venv" / "provenance.py"
    installed.parent.mkdir()
    installed.touch()
    monkeypatch.setattr(module, "__file__", str(installed))
    assert module._commit() is None
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "ours"], check=True)
    assert re.fullmatch(r"[0-9a-f]{40}", module._commit())
