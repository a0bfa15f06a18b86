"""The code of one's own mixers: all of it is known, and a training keeps to what it began with."""

import contextlib
import importlib
import sys

import pytest

from mecheval_jax import runs
from mecheval_jax.checksums import sha256_of
from mecheval_jax.errors import UserError
from mecheval_jax.files import read_json
from mecheval_jax.store import own_code
from mecheval_jax.store.provenance import command_of
from mecheval_jax.store.run_folder import RunFolder
from mecheval_jax.store.sweep_folder import SweepFolder
from mecheval_jax.sweeps import run as sweeps
from mecheval_jax.sweeps.group import Options
from mecheval_jax.sweeps.plan import open_folder, plan
from mecheval_jax.training.checkpoints import Checkpoints
from tests.support import small

MAIN = """
import flax.linen as nn
import numpy
from mecheval_jax.ops.positions import at_positions
from own_parts import SCALE
from own_package.deep import shifted

class Mine(nn.Module):
    width: int

    def __call__(self, x, positions=None):
        import own_late
        return at_positions(SCALE * x + shifted(x), positions)
"""
FILES = {
    "own_main.py": MAIN,
    "own_parts.py": "SCALE = 0.5\n",
    "own_late.py": "import own_main\n",
    "own_unused.py": "",
    "own_package/__init__.py": "",
    "own_package/deep.py": "from . import beside\n\ndef shifted(x):\n    return beside.of(x)\n",
    "own_package/beside.py": "def of(x):\n    return x\n",
}
NAME = "own_main:Mine"


@pytest.fixture
def code(tmp_path, monkeypatch):
    """Folder of a mixer's code that lies in several files, which are imported."""
    folder = tmp_path / "code"
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(folder)
    before = set(sys.modules)
    importlib.import_module("own_main")
    importlib.import_module("own_late")
    yield folder
    for name in set(sys.modules) - before:
        if name.startswith("own_"):
            del sys.modules[name]


def experiment(**training):
    """A small experiment with that mixer."""
    return small.experiment(small.ONE_LAYER | {"model.mixer": NAME}, **training)


def edit(code, name="own_parts.py"):
    (code / name).write_text(FILES[name].replace("0.5", "0.6") + "# edited\n")


def test_files_of_a_mixer(code):
    """Catches an import that the hash leaves out, and one that is of a library."""
    found = own_code._files(NAME)
    wanted = ["own_main", "own_package", "own_package.beside", "own_package.deep"]
    assert next(iter(found)) == "own_main"
    assert sorted(found) == sorted([*wanted, "own_late", "own_parts"])
    assert all(path.is_relative_to(code) for path in found.values())
    assert own_code._files("numpy:array") == own_code._files("not_imported:Mixer") == {}


def test_where_a_mixer_is_found(code, monkeypatch):
    """Catches the folder of a package in place of the one that holds it, and one named twice."""
    importlib.import_module("own_package.deep")
    names = f"attention,{NAME},own_package.deep:Deep,own_package:Mine"
    assert own_code.python_path(names) == str(code)
    assert own_code.python_path("attention") == ""
    monkeypatch.chdir(code.parent)
    assert own_code.python_path(NAME) == "code"


def test_the_command_of_a_sweep_finds_all_its_mixers(code, tmp_path):
    """Catches a command that cannot import what only a later member is made of."""
    base = small.experiment(small.ONE_LAYER).as_dict()
    sweep = plan(base, [{}, {"model.mixer": NAME}])
    folder = SweepFolder(tmp_path / "sweep")
    open_folder(folder, sweep)
    known = read_json(folder.provenance)
    assert list(known["own_code"]) == [NAME]
    made = command_of(known | {"program": "sweep", "arguments": ["--workdir=a b"]}, "sweep")
    assert made == f"PYTHONPATH={code} python -m launch.sweep '--workdir=a b'"


@pytest.mark.usefixtures("code")
def test_an_import_that_was_not_carried_out(monkeypatch):
    """Catches a mixer called edited by a program that reads its run and does not call it."""
    before = own_code.hashes(NAME)
    monkeypatch.delitem(sys.modules, "own_late")
    assert own_code.hashes(NAME) == before
    assert "own_late" not in sys.modules


def test_an_import_that_leads_out_of_its_package(code):
    """Catches a traceback of a module that is imported by itself and within a package."""
    (code / "own_main.py").write_text(
        "try:\n    from ..helpers import f\nexcept ImportError:\n    pass\n" + FILES["own_main.py"]
    )
    assert "own_parts" in own_code._files(NAME)


@pytest.mark.parametrize("name", ["own_main.py", "own_parts.py", "own_package/beside.py"])
def test_a_hash_is_of_all_files(code, name):
    """Catches an edited part of a mixer that goes unnoticed."""
    before = own_code.hashes(f"mamba,{NAME}")
    assert before.keys() == {NAME}
    edit(code, name)
    assert own_code.hashes(NAME) != before
    assert own_code.hashes("mamba") == {}


def test_a_file_that_is_no_python_any_more(code):
    """Catches a traceback over a file that was edited since it was imported."""
    (code / "own_main.py").write_text("def (")
    assert own_code.hashes(NAME) == {NAME: sha256_of([code / "own_main.py"])}


def test_a_run_whose_mixer_was_changed_says_so(code, tmp_path, capsys):
    """Catches a finished run whose numbers are, without a word, those of an edited mixer."""
    folder = RunFolder(tmp_path / "run")
    folder.open(experiment())
    assert read_json(folder.provenance)["own_code"] == own_code.hashes(NAME)
    assert folder.experiment() == experiment()
    assert "has changed" not in capsys.readouterr().err
    edit(code)
    assert folder.experiment() == folder.experiment() == experiment()
    said = " ".join(capsys.readouterr().err.split())
    assert said.count(f"the code of {NAME} has changed since this run was begun") == 1


@contextlib.contextmanager
def dying_at(monkeypatch, at):
    """Let a training die behind its checkpoint of a step."""
    save = Checkpoints.save

    def die(self, step, tree):
        save(self, step, tree)
        self._manager.wait_until_finished()
        if step == at:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Checkpoints, "save", die)
        with pytest.raises(KeyboardInterrupt):
            yield


def test_a_run_does_not_go_on_with_other_code(code, tmp_path, monkeypatch):
    """Catches a training whose first half is of one mixer and whose second is of another."""
    with dying_at(monkeypatch, 10):
        runs.train(experiment(), tmp_path / "run")
    edit(code, "own_package/beside.py")
    copy = tmp_path / "run/own_code/own_package.beside.py"
    message = rf"{NAME} has changed .* at step 10: put {code}/own_package/beside.py back .*{copy}"
    with pytest.raises(UserError, match=message):
        runs.train(experiment(), tmp_path / "run")
    assert copy.read_text() == FILES["own_package/beside.py"]
    (code / "own_package/beside.py").write_text(copy.read_text())
    folder = runs.train(experiment(), tmp_path / "run")
    assert folder.read_summary()["finished"]


def test_a_group_does_not_go_on_with_other_code(code, tmp_path, monkeypatch):
    """Catches members of a sweep that are half of one mixer and half of another."""
    base = experiment().as_dict()
    sweep = plan(base, [{"training.seed": seed} for seed in (0, 1)])
    folder = SweepFolder(tmp_path / "sweep")
    options = Options(strategy="loop", interventions="none")
    with dying_at(monkeypatch, 10):
        sweeps.run_sweep(sweep, folder.path, options)
    edit(code)
    error = sweeps.run_sweep(sweep, folder.path, options).error
    assert f"the code of {NAME} has changed since this training began" in str(error)
    assert isinstance(error, UserError)


def test_a_training_from_the_start_keeps_the_code_anew(code, tmp_path):
    """Catches a copy of what an earlier attempt began with, which is then called the training's."""
    own_code.keep(NAME, tmp_path, 0)
    edit(code)
    own_code.keep(NAME, tmp_path, 0)
    own_code.keep(NAME, tmp_path, 7)
    assert (tmp_path / "own_code/own_parts.py").read_text() == (code / "own_parts.py").read_text()
    own_code.keep("mamba", tmp_path / "other", 7)
    assert not (tmp_path / "other").exists()
