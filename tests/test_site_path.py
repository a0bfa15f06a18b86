"""Paths of sites, taken apart and put together."""

import pathlib
import re

import pytest

from mecheval_jax.site_path import SitePath, block_name, head_node, in_mixer
from tests.support.compilation import ROOT

PATHS = {
    "embedding": (None, "embedding"),
    "block_0/block_input": (0, "block_input"),
    "block_12/mixer/state": (12, "mixer/state"),
    "final_norm": (None, "final_norm"),
}


# Catches a layer that is read digit by digit, and a path that is not the one it came from.
@pytest.mark.parametrize("path", PATHS)
def test_a_path_and_back(path):
    site = SitePath.parse(path)
    assert (site.layer, site.component) == PATHS[path]
    assert str(site) == site.path == path
    assert SitePath.parse(str(site)) == site


# Catches a misspelt path that is read as a site of some block.
@pytest.mark.parametrize("wrong", ["", "block_1", "block_x/q", "block_01/q", "blok_1/q", "q[01]"])
def test_what_is_no_path_stays_as_it_is(wrong):
    assert SitePath.parse(wrong) == SitePath(None, wrong)


# Catches a neighbour in another module, or in another layer.
def test_names_and_neighbours():
    state, output = SitePath(3, "mixer/state"), SitePath(3, "mixer_output")
    assert (state.name, output.name) == ("state", "mixer_output")
    assert state.in_mixer
    assert not output.in_mixer
    assert str(state.beside("write")) == in_mixer(3, "write") == f"{block_name(3)}/mixer/write"
    assert str(output.beside("mlp_output")) == "block_3/mlp_output"
    assert head_node(3, 11) == "block_3/mixer/head_11"


# Catches a second place where paths of sites are built or cut.
def test_paths_are_made_in_one_module():
    marks = re.compile(r"""f["']block_\{|["']block_["']|partition\(["']/["']\)""")
    package = ROOT / "mecheval_jax"
    found = [
        path.relative_to(package)
        for path in sorted(package.rglob("*.py"))
        if path.name != "plan.py" and marks.search(path.read_text())
    ]
    assert found == [pathlib.Path("site_path.py")]
