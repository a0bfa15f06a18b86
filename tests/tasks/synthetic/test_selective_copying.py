"""Selective copying: what is drawn how often, and settings that cannot be."""

import itertools

import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.tasks.synthetic.selective_copying import SelectiveCopying
from tests.support.outcomes import drawn, is_uniform, rows


# Catches places that are not a uniform subset, out of order, and tokens without replacement.
def test_selective_copying_is_uniform():
    batch = drawn(SelectiveCopying(copied=2, noise=2, vocabulary=3, noise_vocabulary=2))
    assert is_uniform(itertools.combinations(range(1, 5), 2), rows(batch.roles["value"]))
    assert is_uniform(itertools.product(range(3, 6), repeat=2), rows(batch.targets))
    noise = batch.tokens[:, 1:5][batch.tokens[:, 1:5] >= 6]
    assert is_uniform((6, 7), noise.tolist())


# Catches a mistake that shows up later as a shape, or never.
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"copied": 0}, r"task\.copied is 0"),
        ({"noise": -1}, r"task\.noise is -1"),
        ({"vocabulary": 1}, r"task\.vocabulary is 1"),
        ({"noise_vocabulary": 0}, r"task\.noise_vocabulary is 0"),
    ],
)
def test_bad_settings(options, message):
    with pytest.raises(UserError, match=message):
        SelectiveCopying(**options)
