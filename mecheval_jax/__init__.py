"""Mechanistic evaluation of sequence models: train them, cut into them, say how they recall.

    import mecheval_jax as me

    trained = me.load("runs/based")
    batch = trained.documents()
    clean = me.capture(trained.model, trained.params, batch)

All that a user needs has its name here; docs/api.md describes each. A bare import loads nothing: a
name is imported when it is first used (PEP 562), from the home that ``__init__.pyi`` gives it,
which type checkers and editors read as well.
"""

import ast
import importlib
import pathlib
from typing import Any

__version__ = "0.5.0"

HOMES = {
    alias.name: statement.module.removeprefix(f"{__name__}.")
    for statement in ast.parse(pathlib.Path(__file__).with_suffix(".pyi").read_text()).body
    if isinstance(statement, ast.ImportFrom)
    for alias in statement.names
}
"""Public names, each with the module of the package that defines it."""


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{HOMES[name]}"), name)
    globals()[name] = value  # found without this function from now on
    return value


def __dir__() -> list[str]:
    return [*globals(), *HOMES]
