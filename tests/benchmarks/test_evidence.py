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
    lines = rows(evidence, evidence.gradient_attribution)[2:]
    names = [name.replace("_", " ") for name in (*METHODS, "exact grid")]
    expected = [f"{mixer} {name}" for mixer in ("attention", "mamba") for name in names]
    assert [line[:42].partition(",")[0].strip() for line in lines] == expected
