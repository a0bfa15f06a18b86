"""Misuses of the Python interface: one line that says what was given and what would be right."""

import json

import pytest

from tests.support import forked
from tests.support.misuses import MISUSES


@pytest.fixture(scope="module")
def raised(tmp_path_factory):
    """Name and text of the error that each misuse raises, where annotations are not checked."""
    folder = tmp_path_factory.mktemp("misuses")
    done = forked.start(["-m", "tests.support.misuses", str(folder)])
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", MISUSES)
def test_a_misuse(name, raised):
    """Catches one that does nothing in silence, and an error that speaks of something else."""
    kind, text = raised[name]
    assert kind == "UserError", text
    assert MISUSES[name][1] in text
    assert "\n" not in text
    assert len(text) < 1000


def test_there_are_many():
    """Catches a table that lost most of its cases."""
    assert len(MISUSES) >= 90
