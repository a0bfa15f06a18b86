"""The package as it is installed: built, put into an empty folder, and run from another."""

import os
import subprocess
import sys
import tomllib
import zipfile

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from mecheval_jax import __version__, programs
from tests.support.compilation import ROOT

LARGEST = 1_200_000
"""Bytes of a wheel; its modules have one million, and what does not belong there would add more."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The built wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", str(ROOT), "--no-deps", "--no-build-isolation", "-w", str(folder))
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def mecheval(wheel, tmp_path_factory):
    """A function that runs the installed console command in an empty folder."""
    site = tmp_path_factory.mktemp("site")
    pip("install", str(wheel), "--no-deps", "--target", str(site))
    folder = tmp_path_factory.mktemp("elsewhere")

    def run(*arguments):
        environment = os.environ | {"PYTHONPATH": str(site)}
        command = [str(site / "bin" / "mecheval"), *arguments]
        return subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )

    return run


def pip(*arguments):
    """Run pip without a network."""
    command = [sys.executable, "-m", "pip", *arguments, "--quiet", "--disable-pip-version-check"]
    subprocess.run(command, check=True, capture_output=True)


def test_what_the_wheel_holds(wheel):
    """Catches a wheel without its data, and one that takes top-level names of others."""
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.split("/")[0] for name in names}
    assert top == {"mecheval_jax", f"mecheval_jax-{__version__}.dist-info"}
    assert "mecheval_jax/py.typed" in names
    assert "mecheval_jax/study/published/accuracies.csv" in names
    for name in programs.config_names():
        assert f"mecheval_jax/shipped/configs/{name}.py" in names
    assert wheel.stat().st_size < LARGEST


def test_a_run_with_the_installed_command(mecheval):
    """Catches configs and programs that are only found in a clone, and messages that name one's."""
    assert mecheval("--version").stdout == f"mecheval {__version__}\n"
    assert "\n    mecheval train --config=" in mecheval("train", "--help").stdout
    config = "recall:mixer=based,width=16,smoke=True"
    trained = mecheval("train", config, "--config.training.steps=2", "--workdir=run")
    assert trained.returncode == 0, trained.stderr
    status = mecheval("status", "run")
    assert "all done; mecheval report --workdir=run shows it" in status.stdout
    report = mecheval("report", "run")
    assert report.returncode == 0, report.stderr


def test_requirements_stand_twice_but_alike():
    """Catches an extra that was not kept in step with the requirements of the tests."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (ROOT / "requirements-test.txt").read_text().splitlines()
    listed = [line for line in lines if line and line[0] not in "#-"]
    assert sorted(project["optional-dependencies"]["dev"]) == sorted(listed)


def test_the_citation_is_of_this_version():
    """Catches a release whose citation names another."""
    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_the_lock_keeps_the_requirements():
    """Catches a range that was moved while the exact versions stayed, and one without."""
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    exact = {
        canonicalize_name(name): version
        for name, version in (line.split("==") for line in lines if line[0] != "#")
    }
    for line in (ROOT / "requirements.txt").read_text().splitlines():
        if line[0] != "#":
            required = Requirement(line)
            assert exact[canonicalize_name(required.name)] in required.specifier
