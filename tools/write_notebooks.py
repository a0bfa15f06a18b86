"""Execute the notebooks of docs/, and write them with what they print, for Jupyter and Colab.

    python -m tools.write_notebooks [--keep] [NAME ...]

The source of a notebook is a program in percent format, ``docs/NAME.py``; what is written is
``docs/notebooks/NAME.ipynb``, whose first cell installs the package where it is not there and makes
the runs that the others look at. The site shows the same cells with the same outputs: what a cell
prints, and its last expression if that is a figure. With ``--keep`` nothing is executed: cells are
written anew, and outputs that are there are kept.
"""

import ast
import base64
import contextlib
import io
import json
import os
import pathlib
import re
import sys
from typing import Any

from mecheval_jax.files import write_text

ROOT = pathlib.Path(__file__).resolve().parents[1]
SOURCES, NOTEBOOKS = ROOT / "docs", ROOT / "docs" / "notebooks"
NAMES = ("tutorial", "state_surgery", "choosing_an_architecture")

INSTALL = """\
# In a clone, its root; elsewhere, as on Colab, a wheel of the package beside the notebook.
import importlib.util
import os
import pathlib
import subprocess
import sys

here = pathlib.Path.cwd()
roots = [path for path in (here, *here.parents) if (path / "mecheval_jax").is_dir()]
if roots:
    os.chdir(roots[0])
elif importlib.util.find_spec("mecheval_jax") is None:
    wheels = sorted(map(str, here.glob("mecheval_jax-*.whl")))
    if not wheels:
        raise SystemExit("put a wheel beside this notebook: python -m pip wheel --no-deps CLONE")
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", wheels[-1]], check=True)
"""

TRAIN = """\
for mixer in {mixers}:  # what `bash launch/quickstart.sh` trains, in a minute or two each
    if not pathlib.Path("runs/quickstart", mixer, "summary.json").exists():
        flags = [f"quickstart:mixer={{mixer}}", f"--workdir=runs/quickstart/{{mixer}}"]
        subprocess.run([sys.executable, "-m", "mecheval_jax", "train", *flags], check=True)
"""

TRAINED = {"tutorial": ("based", "gated_delta_net"), "state_surgery": ("gated_delta_net",)}
"""Notebooks that look at runs of the quickstart, and which."""


def cells_of(name: str) -> list[tuple[str, str]]:
    """The cells of a notebook's source, each with its kind: ``markdown`` or ``code``."""
    text = (SOURCES / f"{name}.py").read_text(encoding="utf-8")
    found = []
    for cell in re.split(r"^# %%", text, flags=re.MULTILINE)[1:]:
        head, _, content = cell.partition("\n")
        if "markdown" in head:
            found.append(("markdown", re.sub(r"^# ?", "", content, flags=re.MULTILINE).strip()))
        else:
            found.append(("code", content.strip()))
    return found


def preparation_of(name: str) -> str:
    """The code of the first cell: the package, and the runs that are looked at."""
    mixers = TRAINED.get(name, ())
    return INSTALL + ("\n" + TRAIN.format(mixers=mixers) if mixers else "")


Outputs = dict[int, list[dict[str, Any]]]
"""What code cells gave, as Jupyter's format has it, by the number of a cell in `cells_of`."""


def notebook(name: str, outputs: Outputs) -> dict[str, Any]:
    """A notebook in Jupyter's format, version 4.5."""
    cells = [_cell(0, "code", preparation_of(name), [])]
    for number, (kind, text) in enumerate(cells_of(name)):
        if kind == "markdown":  # pages stand beside the source, and above the notebook
            text = re.sub(r"\]\((\w+\.md)", r"](../\1", text)
        cells.append(_cell(number + 1, kind, text, outputs.get(number, [])))
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    about = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return {"cells": cells, "metadata": about, "nbformat": 4, "nbformat_minor": 5}


def _cell(number: int, kind: str, text: str, outputs: list[dict[str, Any]]) -> dict[str, Any]:
    cell = {"cell_type": kind, "id": f"cell-{number}", "metadata": {}}
    cell["source"] = text.splitlines(keepends=True)
    if kind == "code":
        cell |= {"execution_count": None, "outputs": outputs}
    return cell


def executed(name: str) -> Outputs:
    """What the code cells of a notebook give, run one after another here."""
    names: dict[str, Any] = {"__name__": "__main__"}
    return {
        number: _outputs_of(text, f"{name}.py, cell {number}", names)
        for number, (kind, text) in enumerate(cells_of(name))
        if kind == "code"
    }


def _outputs_of(text: str, title: str, names: dict[str, Any]) -> list[dict[str, Any]]:
    """Run a cell, whose names stay: what it prints, and its last expression if it is a figure."""
    cell, value = ast.parse(text, title), None
    last = cell.body.pop() if isinstance(cell.body[-1], ast.Expr) else None
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(cell, title, "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), title, "eval"), names)
    outputs: list[dict[str, Any]] = []
    if lines := printed.getvalue().splitlines(keepends=True):
        outputs.append({"name": "stdout", "output_type": "stream", "text": lines})
    if hasattr(value, "_repr_png_"):
        image = {"image/png": base64.b64encode(value._repr_png_()).decode()}
        outputs.append({"data": image, "metadata": {}, "output_type": "display_data"})
    return outputs


def written_outputs(name: str) -> Outputs:
    """What the code cells of the written notebook gave."""
    path = NOTEBOOKS / f"{name}.ipynb"
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"] if path.exists() else ()
    return {number: cell.get("outputs", []) for number, cell in enumerate(cells[1:])}


def images_of(outputs: list[dict[str, Any]]) -> list[bytes]:
    """The pictures among outputs, as the content of PNG files."""
    found = [output["data"]["image/png"] for output in outputs if "data" in output]
    return [base64.b64decode(image) for image in found]


def printed_in(outputs: list[dict[str, Any]]) -> str:
    """The text among outputs."""
    return "".join("".join(output.get("text", ())) for output in outputs)


def text_of(name: str, outputs: Outputs) -> str:
    """The text of a notebook's file."""
    return json.dumps(notebook(name, outputs), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    os.chdir(ROOT)
    keep = "--keep" in sys.argv
    for title in [name for name in sys.argv[1:] if name != "--keep"] or NAMES:
        text = text_of(title, written_outputs(title) if keep else executed(title))
        write_text(NOTEBOOKS / f"{title}.ipynb", text)
