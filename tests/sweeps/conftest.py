"""The sweep that the tests of groups and of whole sweeps look at."""

import pytest

from mecheval_jax.store.sweep_folder import SweepFolder
from tests.support.whole_sweeps import run


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    folder = SweepFolder(tmp_path_factory.mktemp("sweep") / "whole")
    outcome = run(folder.path)
    assert outcome.failed == ()
    return folder
