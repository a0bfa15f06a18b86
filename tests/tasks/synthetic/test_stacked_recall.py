"""Stacked recall: what is drawn how often, halves of pairs, and settings that cannot be."""

import itertools

import jax
import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.tasks.geometry import check_geometry
from mecheval_jax.tasks.synthetic.stacked_recall import StackedRecall
from tests.support.outcomes import drawn, is_uniform, rows

TASK = StackedRecall(pairs=2, queries=1, key_vocabulary=3, value_vocabulary=2)


# Catches keys or values that repeat, and some that never are.
def test_pairs_are_uniform():
    keys, values = divmod(drawn(TASK).tokens[:, 1:3] - 3, 2)
    assert is_uniform(itertools.permutations(range(3), 2), rows(keys))
    assert is_uniform(itertools.permutations(range(2), 2), rows(values))


# Catches a corruption of the half that was to be kept.
@pytest.mark.parametrize(("role", "half"), [("key", 0), ("value", 1)])
def test_a_corruption_keeps_the_other_half(role, half):
    batch = TASK.sample(jax.random.key(0), 64, "test")
    place = batch.roles["key"][:, :1]
    before, now = (
        divmod(np.take_along_axis(np.asarray(tokens), np.asarray(place), axis=1) - 3, 2)
        for tokens in (batch.tokens, TASK.corrupt(jax.random.key(1), batch, role))
    )
    assert (before[half] != now[half]).all()
    assert (before[1 - half] == now[1 - half]).all()


# Catches a verdict about binding where there is nothing to bind.
def test_there_is_no_pair_of_tokens():
    with pytest.raises(UserError, match="in no document are key and value two tokens"):
        check_geometry(TASK, TASK.sample(jax.random.key(0), 4, "test"))


# Catches a mistake that shows up later as a shape, or never.
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pairs": 0}, r"task\.pairs is 0"),
        ({"queries": 9}, r"task\.queries is 9: it must be 1 to 8, the pairs"),
        ({"pairs": 17}, r"task\.key_vocabulary is 16: 17 pairs need at least 17 tokens"),
        ({"value_vocabulary": 7}, r"task\.value_vocabulary is 7: 8 pairs"),
    ],
)
def test_bad_settings(options, message):
    with pytest.raises(UserError, match=message):
        StackedRecall(**options)
