"""The documentation as a site: built whole, without a warning, in seconds."""

import re
import subprocess
import sys

import pytest

from mecheval_jax import completion, programs
from tests.support.compilation import ROOT
from tools import write_notebooks


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site; a link or anchor that leads nowhere, or a page outside it, ends the build."""
    folder = tmp_path_factory.mktemp("site")
    config = ROOT / "tools" / "site" / "mkdocs.yml"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(config), "-d"]
    done = subprocess.run([*command, str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_page_is_there(site):
    """Catches a page of docs/ or of the root that the site lacks."""
    names = {path.stem for path in (ROOT / "docs").glob("*.md")}
    names |= {"overview", "installing", "contributing", "changelog", *write_notebooks.NAMES}
    assert names <= {path.stem for path in site.glob("*.html")}


def test_programs_and_configs_are_described(site):
    """Catches a program, a flag or a config that the reference does not know."""
    page = (site / "programs.html").read_text()
    for name in programs.names():
        assert f'<h2 id="{name}">' in page
        assert all(f"<code>--{flag}</code>" in page for flag in completion.program_flags(name))
    page = (site / "config_files.html").read_text()
    assert all(f">{name}<" in page for name in programs.config_names())


def test_nothing_is_fetched_from_elsewhere(site):
    """Catches fonts and scripts that a reader without a network waits for."""
    page = (site / "index.html").read_text()
    fetched = re.findall(r'<(?:script|link|img)[^>]*(?:src|href)="(https?:[^"]*)"', page)
    assert not fetched


@pytest.mark.parametrize("name", write_notebooks.NAMES)
def test_notebooks_have_their_cells(site, name):
    """Catches cells that are lost, outputs that are, and text that stays a comment."""
    page = (site / f"{name}.html").read_text()
    cells = [kind for kind, _ in write_notebooks.cells_of(name)].count("code")
    given = write_notebooks.written_outputs(name).values()
    printed = sum(map(bool, map(write_notebooks.printed_in, given)))
    assert page.count('class="highlight"') + page.count('class="language-text') >= cells + printed
    pictures = [image for outputs in given for image in write_notebooks.images_of(outputs)]
    shown = re.findall(rf'<img[^>]*src="({name}_\d+\.png)"', page)
    assert [(site / picture).read_bytes() for picture in shown] == pictures
    assert "# %%" not in page
