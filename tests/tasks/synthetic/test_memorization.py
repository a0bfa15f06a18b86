"""Memorisation: the table, what is drawn how often, and settings that cannot be."""

import itertools

import jax
import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.tasks.synthetic.memorization import Memorization
from tests.support.outcomes import drawn, is_uniform, rows


# Catches keys without replacement, and a mark that is not behind every key.
def test_memorization_is_uniform():
    batch = drawn(Memorization(queries=2, key_vocabulary=3, value_vocabulary=2))
    assert is_uniform(itertools.product(range(3, 6), repeat=2), rows(batch.tokens[:, 1:5:2]))
    assert (batch.tokens[:, 2:5:2] == 6).all()


# Catches a table that changes from document to document, or not with the seed.
def test_the_table_is_that_of_the_seed():
    first, same, other = (Memorization(seed=seed).table for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, same)
    assert (first != other).any()
    batch = drawn(Memorization(queries=2, key_vocabulary=3, value_vocabulary=2))
    pairs = zip(batch.tokens[:, 1:5:2].ravel(), batch.targets.ravel(), strict=True)
    assert len(set(pairs)) == 3


def test_the_commonest_answer_of_the_first_query():
    """Catches a floor of query 0 that counts the answers of all queries, and one that is counted in
    the documents that are judged."""
    task = Memorization(queries=4, key_vocabulary=6, value_vocabulary=5, seed=1)
    key = jax.random.key(2)  # Training has another commonest answer than what is judged.
    judged = np.asarray(task.sample(key, 20, "test").targets)
    train = np.asarray(task.sample(jax.random.fold_in(key, 1), 20, "train").targets)
    found = []
    for first, asked in ((False, slice(None)), (True, slice(1))):
        commonest = np.bincount(train[:, asked].ravel()).argmax()
        assert commonest != np.bincount(judged[:, asked].ravel()).argmax()
        found.append((judged[:, asked] == commonest).mean())
        assert task.floors(key, 20, first=first)["majority"] == pytest.approx(found[-1])
    assert found[0] != found[1]


# Catches a mistake that shows up later as a shape, or never.
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"queries": 0}, r"task\.queries is 0"),
        ({"key_vocabulary": 1}, r"task\.key_vocabulary is 1"),
        ({"seed": -1}, r"task\.seed is -1"),
    ],
)
def test_bad_settings(options, message):
    with pytest.raises(UserError, match=message):
        Memorization(**options)
