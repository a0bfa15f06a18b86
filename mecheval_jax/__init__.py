"""Mechanistic evaluation of sequence models: training, interventions, verdicts on recall.

    import mecheval_jax as me

    trained = me.load("runs/based")
    batch = trained.documents()
    clean = me.capture(trained.model, trained.params, batch)

Every name that a user needs is here; docs/api.md describes each. A bare import loads nothing: a
name is imported when it is first used (PEP 562), from the module that ``__init__.pyi`` gives for
it, which type checkers and editors read as well.
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

__all__ = list(HOMES)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{HOMES[name]}"), name)
    globals()[name] = value  # later uses do not come here
    return value


def __dir__() -> list[str]:
    """What an editor offers after ``me.``: no module that is imported here for our own use."""
    own = [name for name in globals() if name.startswith("__")]
    return sorted({*HOMES, *own})
