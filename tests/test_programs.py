"""Programs and configs are found by name, wherever the package lies."""

import pytest

from mecheval_jax import programs
from mecheval_jax.errors import UserError


def test_what_there_is():
    """Catches launchers and package files taken for programs, and helpers taken for configs."""
    assert {"train", "sweep", "report"} <= set(programs.names())
    assert not {"quickstart", "__init__", "environment"} & set(programs.names())
    assert {"recall", "study/ar_layers"} <= set(programs.config_names())
    assert not {"base", "grids", "study/cells"} & set(programs.config_names())


@pytest.mark.parametrize("name", programs.names())
def test_every_program_says_what_it_does(name):
    """Catches a program without a sentence for the overview, or without an example."""
    first, *rest = programs.documentation(name).splitlines()
    assert first.endswith(".")
    assert any(f"python -m launch.{name}" in line for line in rest)


@pytest.mark.parametrize(
    ("started", "name"),
    [
        ("/some where/launch/study.py", "study"),
        ("launch/sweep.py", "sweep"),
        ("mecheval choose", "choose"),
        ("/home/me/train.py", None),
        ("/bin/pytest", None),
        ("", None),
    ],
)
def test_which_program_runs(started, name, monkeypatch):
    """Catches a script of the user's, or a notebook, taken for a program."""
    monkeypatch.setattr("sys.argv", [started])
    assert programs.running() == name


@pytest.mark.parametrize(
    "text",
    [
        "recall:width=64",
        "configs/recall:width=64",
        "recall.py:width=64",
        "configs/recall.py:width=64",
    ],
)
def test_a_config_is_found_from_anywhere(text, tmp_path, monkeypatch):
    """Catches names that only hold in the repository's root, and lost arguments."""
    monkeypatch.chdir(tmp_path)
    assert programs.config_file(text) == f"{programs.ROOT}/configs/recall.py:width=64"
    monkeypatch.chdir(programs.ROOT)
    assert programs.config_file(text) == "configs/recall.py:width=64"


def test_a_file_of_ones_own_comes_first(tmp_path, monkeypatch):
    """Catches a config of the package read in place of the user's."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recall.py").write_text("")
    assert programs.config_file("recall.py:width=64") == "recall.py:width=64"


@pytest.mark.parametrize("text", ["recal", "configs/recal.py", "elsewhere/recal.py:width=64"])
def test_an_unknown_config(text):
    """Catches a traceback, and a message that does not help."""
    with pytest.raises(UserError, match=r"unknown config '.*recal.*' \(did you mean '.*recall"):
        programs.config_file(text)


def test_commands_are_those_of_a_clone():
    """Catches messages that name a command the reader does not have."""
    assert programs.command("train") == "python -m launch.train"
