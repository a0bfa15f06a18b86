"""The models with two runs on which interventions are tested."""

import pytest

from tests.support.two_runs import subject_of

MIXERS = ("attention", "based", "mamba")


@pytest.fixture(params=MIXERS)
def subject(request):
    return subject_of(request.param)


@pytest.fixture
def attention():
    return subject_of("attention")
