"""The benchmark of attribution by gradient calls the analyses as they are."""

import jax

from mecheval_jax.benchmarks import evidence
from mecheval_jax.evaluation.patching.attribution_patching import METHODS


class Traced:
    """A program that is traced where it would be compiled."""

    def __init__(self, program):
        self.program = program

    def lower(self, *arguments):
        jax.eval_shape(self.program, *arguments)
        return self

    def compile(self):
        return lambda *arguments: None


# Catches an argument of the grid or the gradients that is no more, and a method that is left out.
def test_every_method_has_a_row(rows, monkeypatch):
    for module, name in (
        (evidence, "compile_grid"),
        (evidence.gradients, "compile_gradients"),
    ):
        compiled = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *given, c=compiled: Traced(c(*given)))
    table = rows(evidence, evidence.gradient_attribution)
    names = [name.replace("_", " ") for name in (*METHODS, "exact grid")]
    expected = [f"{mixer}, {name}" for mixer in ("attention", "mamba") for name in names]
    assert [", ".join(what.split(", ")[:2]) for what in table] == expected
    assert all(list(row) == ["cells", "time", "compilation"] for row in table.values())


# Catches an analysis that is called otherwise, and a mixer that is left out.
def test_circuits_are_timed_with_their_edges(rows, monkeypatch):
    edge = {"sender": "embedding", "reader": "logits", "port": ""}
    found = {"edges": [edge, {**edge, "method": "eap"}, {**edge, "port": "q"}]}
    monkeypatch.setitem(evidence.ANALYSES, "circuits", lambda subject, options, sites: found)
    table = rows(evidence, evidence.circuits_with_ports)
    assert list(table) == ["attention", "based", "mamba"]
    assert all(list(row) == ["time", "edges"] for row in table.values())
    assert table["mamba"]["edges"] == 2
