"""The sweep that the tests of groups and of whole sweeps look at."""

import pytest

from mecheval_jax.reporting.figures import saving
from mecheval_jax.store.sweep_folder import SweepFolder
from tests.support.whole_sweeps import run


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    folder = SweepFolder(tmp_path_factory.mktemp("sweep") / "whole")
    outcome = run(folder.path)
    assert not outcome.failed
    return folder


@pytest.fixture(scope="module", autouse=True)
def undrawn():
    """The figures of all sweeps but `finished` stay empty: drawing takes as long as training."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(saving, "_rendered", lambda figure, kind: b"<svg></svg>")
        yield
