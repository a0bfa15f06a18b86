"""Bigrams in context: what is drawn how often, and settings that cannot be."""

import itertools

import jax
import numpy as np
import pytest
from scipy import stats

from mecheval_jax.errors import UserError
from mecheval_jax.tasks.synthetic.in_context_bigrams import InContextBigrams
from tests.support.outcomes import (
    DOCUMENTS,
    FIRST,
    drawn,
    in_numpy,
    is_uniform,
)

BIGRAMS = InContextBigrams(length=9, triggers=2, vocabulary=4, concentration=2.0, seed=3)


# Catches a trigger whose successor changes within a document, one that never follows it, a
# trigger right before the query, and a successor that is the same in all documents.
def test_bigrams_after_triggers():
    batch = drawn(BIGRAMS)
    body = batch.tokens[:, 1:10]
    assert body.max() < FIRST + 6
    assert (body[:, -1] >= FIRST + 2).all()
    successors = []
    for row in body.tolist():
        follow = {t: {b for a, b in itertools.pairwise(row) if a == t} for t in (FIRST, FIRST + 1)}
        assert all(len(found) <= 1 for found in follow.values())
        found = tuple(next(iter(f), 0) for f in follow.values())
        if all(found):
            successors.append(found)
    words = range(FIRST + 2, FIRST + 6)
    assert is_uniform(itertools.product(words, repeat=2), successors)
    asked = np.take_along_axis(batch.tokens, batch.query_positions, axis=1)[:, 0]
    assert is_uniform((FIRST, FIRST + 1), asked.tolist())


# Catches rows of another token, a table that changes from document to document, and a row that is
# read at the wrong end: from word to word the table's proportions hold, wherever a trigger is put.
def test_bigrams_follow_the_table():
    body = drawn(BIGRAMS).tokens[:, 1:10] - FIRST
    before, after = body[:, :-1].ravel(), body[:, 1:].ravel()
    for word in range(2, 6):
        following = after[(before == word) & (after >= 2)]
        counts = np.bincount(following, minlength=6)[2:]
        expected = BIGRAMS.table[word, 2:] / BIGRAMS.table[word, 2:].sum()
        assert stats.chisquare(counts, expected * counts.sum()).pvalue > 1e-3


# Catches a trigger that is put at some places only.
def test_bigrams_ask_for_triggers_at_all_places():
    # No other test has this task: what is compiled for it holds the table that is put in here.
    rare = InContextBigrams(length=9, triggers=2, vocabulary=4, concentration=2.0, seed=77)
    table = np.array(rare.table)
    table[:, :2] = 0  # no trigger but the one that is put
    rare.__dict__["table"] = table / table.sum(axis=1, keepdims=True)
    batch = in_numpy(jax.jit(lambda key: rare.sample(key, DOCUMENTS))(jax.random.key(1)))
    assert is_uniform(range(1, 8), batch.roles["key"][:, 0].tolist())
    assert BIGRAMS.table[:, :2].min() > 0  # the table of another instance is its own


# Catches a mistake that shows up later as a shape, or never.
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length": 3}, r"task\.length is 3"),
        ({"seed": -1}, r"task\.seed is -1"),
        ({"triggers": 1}, r"task\.triggers is 1"),
        ({"concentration": 0.0}, r"task\.concentration is 0\.0"),
    ],
)
def test_bad_settings(options, message):
    with pytest.raises(UserError, match=message):
        InContextBigrams(**options)
