"""The README's two set-up commands in a fresh clone, as a newcomer runs them."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from tests.support.compilation import ROOT


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    target = tmp_path_factory.mktemp("clone") / "mecheval_jax"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(target)], check=True)
    return target


def run(clone: pathlib.Path, *command: str) -> str:
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environment["PYTHON"] = sys.executable
    environment["MECHEVAL_JAX_CACHE"] = str(clone.parent / "cache")
    result = subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


@pytest.mark.slow
def test_quickstart_ends_with_verdicts_and_a_report(clone):
    """Catches a missing requirement, and settings that no longer learn."""
    run(clone, "bash", "launch/quickstart.sh")
    expected = {"based": "induction", "gated_delta_net": "convolutional_binding"}
    for mixer, verdict in expected.items():
        summary = json.loads((clone / "runs/quickstart" / mixer / "summary.json").read_text())
        assert summary["accuracy"] >= 0.95
        assert summary["verdict"] == verdict
    assert (clone / "runs/quickstart/report.html").exists()
    # The tutorial finds by hand what the verdicts say.
    printed = run(clone, ".venv/bin/python", "docs/tutorial.py")
    table = {words[0]: words[1:] for line in printed.splitlines() if (words := line.split())}
    columns = ["pair", *table["pair"]]
    for mixer, place in (("based", "pair"), ("gated_delta_net", "elsewhere")):
        assert float(table[mixer][columns.index(place)]) > 0.5
    assert abs(float(table["gated_delta_net"][columns.index("pair")])) < 0.2
    assert "marks: based, gated_delta_net" in printed


@pytest.mark.slow
def test_test_command(clone):
    """Catches a test that needs what a fresh clone does not have."""
    assert "passed" in run(clone, "bash", "tests/run.sh", "tests/statistics/test_bootstrap.py")
