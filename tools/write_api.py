"""Writes docs/api.md, the page on the front door, from the code: python -m tools.write_api.

Signatures are read from the source, as people wrote them.
"""

import ast
import importlib
import inspect
import itertools
import pathlib
import re
import textwrap

import mecheval_jax
from mecheval_jax.files import write_text

ROOT = pathlib.Path(__file__).parents[1]

WIDTH = 90
"""Characters of a signature that stands on one line."""

INTRODUCTION = """# The front door

*Written by tools/write_api.py from the code.* With

```python
import mecheval_jax as me
```

these names are at hand, each imported when it is first used. What they return and take, such as
positions, activations and interventions, [interventions.md](interventions.md) explains; modules
beneath them are open, too, and documented in their own docstrings.
"""


def definition(name: str) -> tuple[ast.AST | None, str]:
    """The syntax tree of a public name, and the module that defines it."""
    value = getattr(mecheval_jax, name)
    home = getattr(value, "__module__", None) or f"mecheval_jax.{mecheval_jax.HOMES[name]}"
    if not home.startswith("mecheval_jax"):  # a value that is no class or function
        home = f"mecheval_jax.{mecheval_jax.HOMES[name]}"
    tree = ast.parse(inspect.getsource(importlib.import_module(home)))
    kinds = (ast.FunctionDef, ast.ClassDef)
    found = [n for n in tree.body if isinstance(n, kinds) and n.name == name]
    return (found[0] if found else None), home


def signature(node: ast.AST | None, name: str) -> str:
    """A call as one writes it; the name alone where there is nothing to call."""
    if isinstance(node, ast.FunctionDef):
        returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
        line = f"me.{name}({ast.unparse(node.args)}){returns}"
        if len(line) <= WIDTH:
            return line
        arguments = ast.unparse(node.args).replace(", *", ",\n    *")
        arguments = re.sub(r", (?=\w+: )", ",\n    ", arguments)
        return f"me.{name}(\n    {arguments},\n){returns}"
    return f"me.{name}"


def described(documentation: str) -> str:
    """A docstring of Google style as Markdown."""
    text = inspect.cleandoc(documentation).replace("``", "`")
    section = re.compile(r"^(Args|Attributes|Returns|Raises|Yields):\n((?:    .*\n?|\n)+)", re.M)
    return section.sub(_section, text + "\n").strip()


def _section(match: re.Match[str]) -> str:
    title, body = match.group(1), textwrap.dedent(match.group(2)).strip("\n")
    if title in ("Returns", "Yields"):
        return f"**{title}**: {' '.join(body.split())}\n\n"
    lines = []
    for entry in re.split(r"\n(?=\S)", body):
        name, _, rest = " ".join(entry.split()).partition(": ")
        lines.append(f"* `{name}`: {rest}")
    return f"**{title}**\n\n" + "\n".join(lines) + "\n\n"


def members(node: ast.AST | None) -> list[str]:
    """Public methods and properties that a class documents, as lines."""
    found = []
    for child in getattr(node, "body", []) if isinstance(node, ast.ClassDef) else []:
        text = ast.get_docstring(child) if isinstance(child, ast.FunctionDef) else None
        if text is None or child.name.startswith("_"):
            continue
        is_property = any("property" in ast.unparse(d) for d in child.decorator_list)
        arguments = ", ".join(a.arg for a in [*child.args.args, *child.args.kwonlyargs][1:])
        call = "" if is_property else f"({arguments})"
        found.append(f"* `.{child.name}{call}`: {' '.join(text.partition(chr(10) * 2)[0].split())}")
    return found


def entry(name: str) -> str:
    """The section on one name."""
    node, home = definition(name)
    text = ast.get_docstring(node) if node is not None else None
    parts = [f"## {name}", f"```text\n{signature(node, name)}\n```"]
    if text:
        parts.append(described(text))
    else:
        parts.append(f"{type(getattr(mecheval_jax, name)).__name__}: " + _comment(name, home))
    parts += ["\n".join(members(node))] if members(node) else []
    parts.append(f"Defined in `{home}`.")
    return "\n\n".join(parts)


def _comment(name: str, home: str) -> str:
    """The text that stands below a value that is no class or function."""
    body = ast.parse(inspect.getsource(importlib.import_module(home))).body
    for node, after in itertools.pairwise(body):
        targets = [node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [])
        if any(isinstance(t, ast.Name) and t.id == name for t in targets):
            return str(after.value.value) if isinstance(after, ast.Expr) else ""
    return ""


def render() -> str:
    """The whole page."""
    return "\n\n".join([INTRODUCTION.strip(), *map(entry, mecheval_jax.HOMES)]) + "\n"


if __name__ == "__main__":
    write_text(ROOT / "docs" / "api.md", render())
