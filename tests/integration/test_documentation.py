"""Every command and snippet of README.md and BUILD.md runs, and those of docs/interventions.md.

Trainings run as smoke runs (`smoke=True` added to the config's arguments) in a folder of
the test's own. Commands that set up a machine are checked for their syntax here; the two
set-up scripts run in `test_fresh_clone.py`.
"""

import os
import pathlib
import re
import subprocess

import pytest

from mecheval_jax import analyses, interventions
from tests.support import forked
from tests.support.compilation import ROOT, settings

SET_UP = ("pip install", "quickstart.sh", "tests/run.sh", "git clone", "sbatch")


def blocks(document: str, language: str) -> list[str]:
    text = (ROOT / document).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)


def as_smoke(text: str, folder: pathlib.Path) -> str:
    """Runs go to `folder`, and trainings take seconds; all compile as the tests do."""
    text = re.sub(r"\bXLA_FLAGS=(\S+)", r'XLA_FLAGS="\1 $XLA_FLAGS"', text)
    text = re.sub(r"(--config=configs/[\w/]+\.py:[\w=,.\-]+)", r"\1,smoke=True", text)
    text = re.sub(r"(--config=configs/[\w/]+\.py)(\s)", r"\1:smoke=True\2", text)
    return re.sub(r"\bruns/", f"{folder}/", text)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("documented")


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """That of a shell whose `python` starts where its imports are done."""
    with forked.interpreter(tmp_path_factory.mktemp("python")) as python:
        yield os.environ | settings() | {"PATH": f"{python}{os.pathsep}{os.environ['PATH']}"}


@pytest.mark.parametrize("document", ["README.md", "BUILD.md"])
def test_commands_and_snippets_in_order(document, folder, environment):
    """Catches a flag, path or function that the documents name and the code does not have."""
    text = (ROOT / document).read_text()
    ran = 0
    for language, code in re.findall(
        r"^```(bash|python)\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE
    ):
        code = as_smoke(code, folder)
        if language == "python":
            result = forked.start(["-c", code])
        else:
            how = "-n" if any(word in code for word in SET_UP) else "-e"
            result = subprocess.run(
                ["bash", how, "-c", code],
                cwd=ROOT,
                env=environment,
                capture_output=True,
                text=True,
                timeout=300,
            )
        assert result.returncode == 0, f"{code}\n{result.stdout}\n{result.stderr}"
        ran += 1
    assert ran >= 5


def test_snippets_on_interventions_follow_one_another():
    """Catches a rewrite that the page names and the code does not have, or with other arguments."""
    snippets = blocks("docs/interventions.md", "python")
    assert len(snippets) >= 7
    names: dict[str, object] = {}
    exec("\n".join(snippets), names)
    unnamed = set(interventions.__all__) - {"Activations", "Interventions", "Positions"}
    page = (ROOT / "docs" / "interventions.md").read_text()
    unnamed = {name for name in unnamed if name not in page}
    assert unnamed <= {"resolve", "site_paths", "validate_positions"}


@pytest.mark.parametrize("path", [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")], ids=str)
def test_links_lead_somewhere(path):
    """Catches a file that was moved."""
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", path.read_text()):
        assert (path.parent / target).exists(), target


def test_the_page_on_analyses_names_them_all():
    """Catches an analysis, or a table, that nobody is told of."""
    page = (ROOT / "docs" / "analyses.md").read_text()
    for name in analyses.ANALYSES:
        assert f"| `{name}` |" in page
        assert f"\n## {name.capitalize()}\n" in page


@pytest.mark.parametrize("document", ["README.md", "BUILD.md", "CHANGELOG.md"])
def test_no_placeholder_is_left(document):
    """Catches a number that was to be filled in."""
    names = set(re.findall(r"\b[A-Z]{3,}_[A-Z_]{3,}\b", (ROOT / document).read_text()))
    assert names <= {"MECHEVAL_JAX_CACHE", "XDG_CACHE_HOME", "XLA_FLAGS"}


def test_scripts_parse():
    for script in ("launch/quickstart.sh", "launch/environment.sh", "tests/run.sh", ".ci/run"):
        subprocess.run(["bash", "-n", str(ROOT / script)], check=True)
