"""The benchmark of imports: what is imported, and which of the times count."""

import importlib
import types

module = importlib.import_module("mecheval_jax.benchmarks.imports")


# Catches a mean where the shortest time is meant, and jax's own import counted as the package's.
def test_imports(monkeypatch, capsys):
    times, statements = iter([2.0, 1.0, 3.0, 1.5, 1.25, 4.0]), []

    def run(command, **_):
        statements.append(command[-1])
        return types.SimpleNamespace(stdout=f"{next(times)}\n")

    monkeypatch.setattr(module.subprocess, "run", run)
    module.imports()
    assert capsys.readouterr().out.strip() == (
        "import: jax and flax 1.00 s, mecheval_jax.runs 0.25 s more"
    )
    assert all("import jax" in statement for statement in statements)
    assert ["mecheval_jax" in statement for statement in statements] == [False] * 3 + [True] * 3
