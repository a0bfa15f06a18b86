"""Compression: what is drawn how often, and settings that cannot be."""

import itertools

import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.tasks.synthetic.compression import Compression
from tests.support.outcomes import drawn, is_uniform, rows


# Catches places that are asked twice or in order, and tokens without replacement.
def test_compression_is_uniform():
    batch = drawn(Compression(length=3, queries=2, vocabulary=2))
    assert is_uniform(itertools.product((3, 4), repeat=3), rows(batch.tokens[:, 1:4]))
    assert is_uniform(itertools.permutations(range(1, 4), 2), rows(batch.roles["value"]))


# Catches a mistake that shows up later as a shape, or never.
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length": 0}, r"task\.length is 0"),
        ({"vocabulary": 1}, r"task\.vocabulary is 1"),
        ({"queries": 17}, r"task\.queries is 17: it must be 1 to 16, the length"),
    ],
)
def test_bad_settings(options, message):
    with pytest.raises(UserError, match=message):
        Compression(**options)
