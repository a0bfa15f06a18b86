"""The benchmark of imports: what is imported, and which of the times count."""

import importlib
import types

module = importlib.import_module("mecheval_jax.benchmarks.imports")


# Catches jax's own import counted as the package's.
def test_imports(monkeypatch):
    times, statements = iter([2.0, 1.0, 3.0, 1.5, 1.25, 4.0]), []

    def run(command, **_):
        statements.append(command[-1])
        return types.SimpleNamespace(stdout=f"{next(times)}\n")

    monkeypatch.setattr(module.subprocess, "run", run)
    base, beyond = module.imports()
    assert base.values == (2, 1, 3)
    assert beyond.values == (0.5, 0.25, 3)
    assert all("import jax" in statement for statement in statements)
    assert ["mecheval_jax" in statement for statement in statements] == [False] * 3 + [True] * 3
