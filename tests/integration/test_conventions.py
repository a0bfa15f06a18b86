"""Conventions of the source that neither ruff nor pyright checks."""

import ast
import io
import tokenize
from collections.abc import Iterator

import pytest

from tests.support.compilation import ROOT

FOLDERS = ("mecheval_jax", "launch", "tools")
MODULES = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
MODULES += sorted(ROOT.glob("docs/*.py"))
MOST_PARAMETERS, LONGEST = 6, 40


def functions(source: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.arg]:
    found = function.args
    named = [*found.posonlyargs, *found.args, *found.kwonlyargs]
    return [one for one in named if one.arg not in ("self", "cls")]


def comments(source: str) -> set[int]:
    """Lines with a comment that is meant for readers."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    marks = ("# noqa", "# fmt", "# type", "# pyright")
    return {
        token.start[0]
        for token in tokens
        if token.type == tokenize.COMMENT and not token.string.startswith(marks)
    }


def broken(source: str) -> list[str]:
    """What the functions of a module lack."""
    told, found = comments(source), []
    for function in functions(source):
        name, named = function.name, parameters(function)
        others = [one for one in (function.args.vararg, function.args.kwarg) if one]
        bare = [one.arg for one in [*named, *others] if one.annotation is None]
        found += [f"{name}: {argument} has no annotation" for argument in bare]
        if len(named) > MOST_PARAMETERS and name != "__init__":
            found.append(f"{name}: {len(named)} parameters")
        lines = range(function.lineno, function.end_lineno + 1)
        if len(lines) > LONGEST and not told.intersection(lines):
            found.append(f"{name}: {len(lines)} lines and no comment")
    return found


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_functions_keep_the_conventions(module):
    """Catches a parameter without annotation, a seventh one, and a long function in one piece."""
    assert broken(module.read_text()) == []


def test_what_is_broken_is_found():
    """Catches a check that passes whatever stands there."""
    lines = "\n".join(["    pass"] * LONGEST)
    assert broken(f"def f(a: int, b):\n{lines}\n") == [
        "f: b has no annotation",
        "f: 41 lines and no comment",
    ]
    assert broken("def f(a: int, b: int, c: int, d: int, e: int, *, f: int, g: int): ...\n") == [
        "f: 7 parameters"
    ]
    assert broken(f"def f(self, a: int):\n    # told\n{lines}\n") == []


def joins_lines(source: str) -> bool:
    """Whether the docstring of a module loses a backslash, as that of a command in two lines."""
    module = ast.parse(source)
    docstring = ast.get_docstring(module, clean=False)
    return docstring is not None and (
        module.body[0].end_lineno - module.body[0].lineno > docstring.count("\n")
    )


CONFIGS = sorted((ROOT / "configs").rglob("*.py"))


@pytest.mark.parametrize("module", MODULES + CONFIGS, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_in_docstrings_keep_their_lines(module):
    """Catches a help whose command has lost the backslash at the end of its line."""
    assert not joins_lines(module.read_text())


def test_a_lost_backslash_is_found():
    """Catches a check that passes whatever stands there."""
    command = '"""Train.\n\n    python -m a \\\n        --b\n"""\n'
    assert joins_lines(command)
    assert not joins_lines(f"r{command}")
    assert not joins_lines("import os\n")
