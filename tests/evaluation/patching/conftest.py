"""What several files of these tests look at."""

import pytest

from mecheval_jax.evaluation.config import EvaluationConfig
from tests.support import planted
from tests.support.plain_transformer import Plain


@pytest.fixture(scope="package")
def plain():
    """A transformer written out, on six documents."""
    evaluation = EvaluationConfig(documents=6, corruptions=("key",), resamples=50)
    return Plain(planted.lively_subject("attention", evaluation))
