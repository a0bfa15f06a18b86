"""Induction heads: what is drawn how often, and settings that cannot be."""

import itertools

import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.tasks.synthetic.induction_heads import InductionHeads
from tests.support.outcomes import FIRST, drawn, is_uniform, rows


# Catches a trigger that some places never have, and words that depend on it.
def test_induction_heads_is_uniform():
    batch = drawn(InductionHeads(length=5, vocabulary=3))
    words = range(FIRST + 1, FIRST + 4)
    found = np.concatenate([batch.roles["key"], batch.targets], axis=1)
    assert is_uniform(itertools.product(range(1, 5), words), rows(found))
    body = batch.tokens[:, 1:6]
    assert is_uniform(words, body[body > FIRST].tolist())


# Catches a mistake that shows up later as a shape, or never.
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length": 1}, r"task\.length is 1"),
        ({"vocabulary": 1}, r"task\.vocabulary is 1"),
    ],
)
def test_bad_settings(options, message):
    with pytest.raises(UserError, match=message):
        InductionHeads(**options)
