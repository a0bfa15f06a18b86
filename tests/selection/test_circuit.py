"""Circuits of the best runs, measured once and kept."""

import shutil
from types import SimpleNamespace

import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.selection import circuit
from mecheval_jax.store.choice import ChoiceFolder
from mecheval_jax.store.sweep_folder import GroupFolder
from tests.support import small
from tests.support.choices import runs_of


@pytest.fixture
def group(finished, tmp_path):
    """A copy of the only group."""
    folder, _ = finished
    shutil.copytree(folder.path, tmp_path / "copy")
    (only,) = ChoiceFolder(tmp_path / "copy").groups()
    return only


def test_the_best_run_is_measured_once(group, monkeypatch):
    """Catches circuits of another run, and compute that is spent again when a choice resumes."""
    for run in runs_of(group):
        run.update_summary(accuracy_low=1.0, verdict="induction")
    circuit.measure_circuit(group)
    found = [run.read_summary().get("circuit", "unmeasured") for run in runs_of(group)]
    assert found.count("unmeasured") == 1
    (measured,) = (one for one in found if one != "unmeasured")
    assert measured is None or 0 <= measured["edges"] <= measured["of"]
    monkeypatch.setattr(circuit, "score_edges", None)
    circuit.measure_circuit(group)


def test_a_large_graph_is_tried_at_many_sizes(monkeypatch, tmp_path):
    """Catches a half of the sizes that there is time for."""
    tried, kept = [], {}
    summary = {"accuracy_low": 1.0, "floors": {"best": 0.2}, "verdict": "induction"}
    folder = SimpleNamespace(path="run", read_finished=lambda: summary, update_summary=kept.update)
    loaded = SimpleNamespace(experiment=small.experiment(), params={})
    scored = SimpleNamespace(graph=SimpleNamespace(edges=range(200)))
    for name, stand_in in {
        "chosen_member": lambda _: {"member": 0},
        "RunFolder": lambda _: folder,
        "runs": SimpleNamespace(load=lambda _: loaded),
        "Subject": SimpleNamespace(of=lambda *_: None),
        "score_edges": lambda *_, **__: scored,
        "measure_faithfulness": lambda *_, sizes, **__: tried.extend(sizes),
        "smallest_circuit": lambda *_: None,
    }.items():
        monkeypatch.setattr(circuit, name, stand_in)
    circuit.measure_circuit(GroupFolder(tmp_path))
    assert 24 < len(tried) <= circuit.MOST
    assert (tried[0], tried[-1]) == (0, 200)
    assert kept == {circuit.CIRCUIT: None}


def test_what_has_not_learned_has_no_circuit(group, monkeypatch):
    """Catches compute spent on the circuit of an answer that is not there."""
    monkeypatch.setattr(circuit, "score_edges", None)
    circuit.measure_circuit(group)
    group.table.unlink()
    circuit.measure_circuit(group)


def test_a_run_without_a_summary(group, capsys):
    """Catches a choice of many hours that ends at a file that is gone."""
    for run in runs_of(group):
        run.summary.unlink()
    with pytest.raises(UserError, match=r"without summary\.json"):
        circuit.measure_circuit(group)


def test_an_architecture_without_a_graph(group, monkeypatch):
    """Catches a choice that ends at its first RWKV-7, when all is trained."""

    def refuse(*arguments, **options):
        raise UserError("rwkv7 has no graph of edges")

    monkeypatch.setattr(circuit, "score_edges", refuse)
    for run in runs_of(group):
        run.update_summary(accuracy_low=1.0, verdict="induction")
    circuit.measure_circuit(group)
    found = [run.read_summary().get("circuit", "unmeasured") for run in runs_of(group)]
    assert found.count(None) == 1
