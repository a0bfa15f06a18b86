"""Notebooks: their source in docs/, the same cells with outputs for Jupyter, and that they run."""

import ast
import os
import pathlib
import re

import pytest

from mecheval_jax import runs
from tests.support import forked, small
from tests.support.compilation import ROOT
from tools import write_notebooks

EXECUTED = ("tutorial", "state_surgery", "choosing_an_architecture")
"""Notebooks that are written with what they print and draw."""


@pytest.mark.parametrize("name", write_notebooks.NAMES)
def test_the_written_notebook_is_that_of_the_source(name):
    """Catches cells that were changed in one of the two: run python -m tools.write_notebooks."""
    outputs = write_notebooks.written_outputs(name)
    written = (ROOT / "docs" / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8")
    assert write_notebooks.text_of(name, outputs) == written
    assert "Traceback" not in written
    assert "/work/" not in written  # a path of the machine that ran it
    assert len(written) < 300_000


@pytest.mark.parametrize("name", EXECUTED)
def test_the_written_notebook_was_executed(name):
    """Catches a notebook that was written anew with --keep, and cells without what they print."""
    outputs = write_notebooks.written_outputs(name)
    cells = write_notebooks.cells_of(name)
    silent = [n for n, (kind, text) in enumerate(cells) if "print(" in text and not outputs[n]]
    assert silent == []
    drawn = any(map(write_notebooks.images_of, outputs.values()))
    assert drawn == any(text.endswith(("\nfigure", ".reset_index())")) for _, text in cells)


@pytest.mark.parametrize("name", write_notebooks.NAMES)
def test_the_source_is_in_percent_format(name):
    """Catches cells that Jupytext would not find, and a first cell that is no Python."""
    text = (ROOT / "docs" / f"{name}.py").read_text()
    assert text.startswith("# ---\n# jupyter:\n#   jupytext:")
    assert len(write_notebooks.cells_of(name)) >= 8
    for kind, cell in write_notebooks.cells_of(name):
        assert cell
        if kind == "code":
            ast.parse(cell)
    first = write_notebooks.preparation_of(name)
    assert "pip" in first
    ast.parse(first)


def test_the_first_cell_goes_to_the_clone(monkeypatch):
    """Catches a notebook that Jupyter starts in its own folder, where neither package nor runs
    are."""
    monkeypatch.chdir(write_notebooks.NOTEBOOKS)
    exec(write_notebooks.INSTALL, {})
    assert pathlib.Path.cwd() == ROOT


@pytest.mark.parametrize("name", write_notebooks.NAMES)
def test_links_lead_somewhere(name):
    """Catches a link that holds beside the source and not beside the notebook."""
    written = (write_notebooks.NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]+\.md)", written):
        assert (write_notebooks.NOTEBOOKS / target).exists(), target


def test_every_number_of_the_choice_is_a_column():
    """Catches a column that the notebook shows and the table does not have."""
    page = (ROOT / "mecheval_jax" / "store" / "choice.py").read_text()
    source = (ROOT / "docs" / "choosing_an_architecture.py").read_text()
    columns = re.findall(r'"(\w+)"', " ".join(re.findall(r'\[\["?.*|costs = .*', source)))
    assert len(columns) >= 10
    assert [name for name in columns if f"``{name}``" not in page] == []


def test_the_surgery_runs(tmp_path):
    """Catches a call that the code does not have, with a run that has learned nothing."""
    changes = {"model.mixer": "gated_delta_net", "model.max_length": 32, "task.pairs": 4}
    runs.train(small.experiment(changes, steps=2, checkpoint_every=2), tmp_path / "gated_delta_net")
    cells = (ROOT / "docs" / "state_surgery.py").read_text()
    done = forked.start(["-c", cells], environment=os.environ | {"QUICKSTART": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    assert "was erased: " in done.stdout
    assert "the other's answer" in done.stdout


@pytest.mark.slow
def test_the_choice_runs(tmp_path):
    """Catches a flag or a file that the program does not have, with runs that learn nothing."""
    environment = os.environ | {"CHOICE": str(tmp_path / "choice"), "CHOICE_STEPS": "20"}
    cells = (ROOT / "docs" / "choosing_an_architecture.py").read_text()
    done = forked.start(["-c", cells], environment=environment)
    assert done.returncode == 0, done.stderr
    assert "abstained" in done.stdout
