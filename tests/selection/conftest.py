"""The choice that the tests of whole choices and of circuits look at."""

import pytest

from mecheval_jax.selection.request import ChoiceRequest
from mecheval_jax.selection.run import choose_architecture
from mecheval_jax.store.choice import ChoiceFolder
from tests.support import small

ARGUMENTS = ("--config=recall", "--workdir=here")


@pytest.fixture(scope="session")
def asked():
    """One architecture of one layer, at one width and rate, twice."""
    experiment = small.experiment({**small.ONE_LAYER, "model.mixer": "based"}, steps=10)
    return ChoiceRequest(experiment, mixers=("based",), widths=(16,), rates=(1e-2,), seeds=2)


@pytest.fixture(scope="session")
def finished(asked, tmp_path_factory):
    """Its folder, when all is done, and the advice."""
    folder = ChoiceFolder(tmp_path_factory.mktemp("choice") / "whole")
    return folder, choose_architecture(asked, folder.path, ARGUMENTS).advice
