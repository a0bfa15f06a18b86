"""Forgetting recall: what is drawn how often, the old pairs, and settings that cannot be."""

import itertools

import jax
import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.tasks.synthetic.forgetting_recall import ForgettingRecall
from tests.support.outcomes import drawn, is_uniform, rows

TASK = ForgettingRecall(pairs=2, rebound=1, queries=2, key_vocabulary=3, value_vocabulary=4)


# Catches an order of writes that favours some (the later of two could always be the last), keys or
# values that repeat, and an old pair that is the new one.
def test_writes_are_uniform():
    batch = drawn(TASK)
    keys, values = batch.tokens[:, 1:7:2], batch.tokens[:, 2:7:2]
    twice = np.array([[(row == key).sum() for key in row] for row in keys])
    patterns = [tuple(row) for row in (twice == 2).astype(int).tolist()]
    assert is_uniform(set(itertools.permutations((1, 1, 0))), patterns)
    asked = np.take_along_axis(batch.tokens, batch.query_positions, axis=1)
    assert is_uniform(itertools.permutations(range(3, 6), 2), rows(asked))
    assert is_uniform(itertools.permutations(range(6, 10), 3), rows(values))


# Catches questions that ask one key twice, and a first question that has nothing to forget.
def test_the_first_question_is_about_a_key_that_was_bound_twice():
    task = ForgettingRecall(pairs=3, rebound=2, queries=2, key_vocabulary=4, value_vocabulary=6)
    batch = drawn(task)
    rebound = batch.roles["old_value"] >= 0
    assert rebound[:, 0].all()
    assert is_uniform((0, 1), rebound[:, 1].astype(int).tolist())
    asked = np.take_along_axis(batch.tokens, batch.query_positions, axis=1)
    assert (asked[:, 0] != asked[:, 1]).all()
    assert (batch.roles["old_value"] < batch.roles["value"]).all()


# Catches a floor of recall that never forgets which counts as one without recall.
def test_floor_of_what_was_bound_first():
    floors = TASK.floors(jax.random.key(0), 512)
    assert floors["first_bound"] == 0.5
    assert floors["best"] == max(v for k, v in floors.items() if k not in ("first_bound", "best"))


# Catches a mistake that shows up later as a shape, or never.
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rebound": 0}, r"task\.rebound is 0: it must be 1 to 8, the pairs"),
        ({"rebound": 9}, r"task\.rebound is 9"),
        ({"queries": 9}, r"task\.queries is 9"),
        ({"pairs": 65}, r"task\.key_vocabulary is 64: 65 keys need at least 65 tokens"),
        ({"value_vocabulary": 11}, r"task\.value_vocabulary is 11: 12 writes need at least 12"),
    ],
)
def test_bad_settings(options, message):
    with pytest.raises(UserError, match=message):
        ForgettingRecall(**options)
