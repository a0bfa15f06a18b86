"""The tests mirror the package: a module's tests are where its name says."""

import pytest

from tests.support.compilation import ROOT

PACKAGE, TESTS = ROOT / "mecheval_jax", ROOT / "tests"

FAMILIES = {
    "mixers/test_mixers.py": "causality, recurrent form, positions: an entry for each mixer",
    "mixers/test_mixer_sites.py": "cuts and unused sites: an entry for each mixer",
    "mixers/test_golden_mixers.py": "the reference's numbers: an entry for each of its mixers",
    "tasks/test_tasks.py": "layout, roles, corruption, floors: an entry for each task",
    "models/test_half_precision.py": "training in bfloat16: an entry for each mixer",
    "interop/test_golden_language_models.py": "the reference's numbers: an entry for each model",
}
"""Files that check a whole family by one entry each, and what they check."""

FRONT_DOOR = "test_front_door.py"
"""What the package itself, its `__init__`, offers."""

LONGEST = 400
"""Lines of a file."""


MODULES = sorted(
    path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if path.name != "__init__.py"
)
FILES = sorted(path.relative_to(TESTS) for path in TESTS.rglob("test_*.py"))
MIRRORING = [path for path in FILES if path.parts[0] != "integration"]


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_every_module_has_its_tests(module):
    """Catches a module that nothing tests, or whose tests nobody finds."""
    assert module.with_name(f"test_{module.name}") in FILES


@pytest.mark.parametrize("file", MIRRORING, ids=str)
def test_every_file_tests_a_module(file):
    """Catches tests of what is gone or was renamed, and a file of this and that."""
    module = file.with_name(file.name.removeprefix("test_"))
    assert module in MODULES or file.as_posix() in (FRONT_DOOR, *FAMILIES)


def test_the_families_are_there():
    """Catches a family that was split."""
    assert {file.as_posix() for file in FILES} >= set(FAMILIES)


SOURCES = sorted((*PACKAGE.rglob("*.py"), *TESTS.rglob("*.py")))


@pytest.mark.parametrize("file", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_is_too_long(file):
    """Catches several things in one file."""
    assert len(file.read_text().splitlines()) <= LONGEST
