"""The front door: one import, nothing loaded before it is used, and a page of what is there."""

import ast
import importlib
import pathlib

import pytest

import mecheval_jax as me
from tests.support import small
from tests.support.compilation import ROOT
from tools import write_api


def test_a_bare_import_loads_nothing():
    """Catches a front door that makes every program pay for jax."""
    code = "import sys, mecheval_jax; print('jax' in sys.modules or 'numpy' in sys.modules)"
    assert small.start(["-c", code]).stdout.strip() == "False"


def test_type_checkers_see_what_is_there():
    """Catches a name that an editor offers and its home lacks, or that editors take as private."""
    stub = pathlib.Path(me.__file__).with_suffix(".pyi").read_text()
    seen = [n for n in ast.parse(stub).body if isinstance(n, ast.ImportFrom)]
    assert all(alias.asname == alias.name for node in seen for alias in node.names)
    assert len(me.HOMES) >= 20
    for name, home in me.HOMES.items():
        defined = getattr(importlib.import_module(f"mecheval_jax.{home}"), name)
        assert defined is getattr(me, name)


@pytest.mark.parametrize("name", me.HOMES)
def test_every_name_is_documented(name):
    """Catches a name that leads nowhere, or that nobody explains."""
    assert name in dir(me)
    assert getattr(me, name) is getattr(me, name)
    section = (ROOT / "docs" / "api.md").read_text().partition(f"\n## {name}\n")[2]
    assert len(section.partition("\n## ")[0]) > 80


def test_nothing_else_is_offered():
    """Catches modules that the door itself uses, among the names that an editor completes."""
    assert {name for name in dir(me) if not name.startswith("__")} == set(me.HOMES)
    assert set(me.__all__) == set(me.HOMES)


def test_a_name_that_is_not_there():
    """Catches a door that answers to everything."""
    with pytest.raises(AttributeError, match="interchang'"):
        me.interchang  # noqa: B018


def test_the_page_is_written_from_the_code():
    """Catches a page that says what was true once: run python -m tools.write_api."""
    assert (ROOT / "docs" / "api.md").read_text() == write_api.render()


def test_interventions_through_one_import(tmp_path):
    """Catches a door behind which README's example does not work."""
    experiment = small.experiment(steps=5)
    me.train(experiment, tmp_path / "run")
    trained = me.load(tmp_path / "run")
    batch = trained.documents()
    assert len(batch.tokens) == experiment.evaluation.documents
    clean = me.capture(trained.model, trained.params, batch)
    patch = me.interchange(clean, ["block_1/block_input"], me.locate(batch, "value"))
    corrupted = trained.corrupt(batch, "key")
    assert (corrupted.tokens != batch.tokens).any(axis=1).all()
    logits = me.run(trained.model, trained.params, corrupted, patch)
    probability = me.answer_probability(logits, batch)
    assert probability.shape == batch.targets.shape
    assert (probability > 0).all()
    assert (probability < 1).all()
