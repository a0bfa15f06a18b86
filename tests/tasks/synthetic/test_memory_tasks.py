"""The memory tasks: what is drawn how often, and settings that cannot be.

Layout, roles, corruption, floors and chance are those of every task: `test_tasks`.
"""

import functools
import itertools

import jax
import numpy as np
import pytest
from scipy import stats

from mecheval_jax.errors import UserError
from mecheval_jax.tasks.synthetic.fuzzy_recall import FuzzyRecall
from mecheval_jax.tasks.synthetic.in_context_bigrams import InContextBigrams
from mecheval_jax.tasks.synthetic.induction_heads import InductionHeads
from mecheval_jax.tasks.synthetic.noisy_recall import NoisyRecall
from mecheval_jax.tasks.synthetic.selective_copying import SelectiveCopying
from tests.tasks.synthetic.test_multi_query_recall import is_drawn_from
from tests.tasks.test_tasks import in_numpy

DOCUMENTS = 4000
FIRST = 3


@functools.cache
def drawn(task):
    """Many documents."""
    return in_numpy(jax.jit(lambda key: task.sample(key, DOCUMENTS))(jax.random.key(0)))


def is_uniform(values, outcomes):
    """Outcomes are the values, each as often."""
    return is_drawn_from(dict.fromkeys(values, 1.0), outcomes)


def rows(array):
    """Rows as tuples."""
    return [tuple(row) for row in array.tolist()]


# Catches places that are not a uniform subset, out of order, and tokens without replacement.
def test_selective_copying_is_uniform():
    batch = drawn(SelectiveCopying(copied=2, noise=2, vocabulary=3, noise_vocabulary=2))
    assert is_uniform(itertools.combinations(range(1, 5), 2), rows(batch.roles["value"]))
    assert is_uniform(itertools.product(range(3, 6), repeat=2), rows(batch.targets))
    noise = batch.tokens[:, 1:5][batch.tokens[:, 1:5] >= 6]
    assert is_uniform((6, 7), noise.tolist())


# Catches a trigger that some places never have, and words that depend on it.
def test_induction_heads_is_uniform():
    batch = drawn(InductionHeads(length=5, vocabulary=3))
    words = range(FIRST + 1, FIRST + 4)
    found = np.concatenate([batch.roles["key"], batch.targets], axis=1)
    assert is_uniform(itertools.product(range(1, 5), words), rows(found))
    body = batch.tokens[:, 1:6]
    assert is_uniform(words, body[body > FIRST].tolist())


# Catches noise within a pair, more noise at one place than at others, and an asked pair that
# stands at some places more often.
def test_noisy_recall_is_uniform():
    task = NoisyRecall(pairs=2, noise=2, key_vocabulary=3, value_vocabulary=3, noise_vocabulary=2)
    batch = drawn(task)
    layouts = ["".join("kkkvvvnn"[token - FIRST] for token in row) for row in batch.tokens[:, 1:7]]
    expected = {
        "".join({"p": "kv", "n": "n"}[item] for item in items)
        for items in itertools.permutations("ppnn")
    }
    assert is_uniform(sorted(expected), layouts)
    is_second = np.array([layout.index("k") for layout in layouts]) + 1 < batch.roles["key"][:, 0]
    assert is_uniform((False, True), is_second.tolist())


# Catches keys that repeat, lengths that are not uniform, and tokens of a key or value that are
# drawn from a part of the class.
def test_fuzzy_recall_is_uniform():
    task = FuzzyRecall(pairs=2, key_tokens=2, value_tokens=2, key_vocabulary=3, value_vocabulary=2)
    batch = drawn(task)
    keys, lengths, values = [], [], []
    for tokens, length in zip(batch.tokens, batch.lengths, strict=True):
        divider = tokens.tolist().index(2)
        kinds = "".join("k" if token < FIRST + 3 else "v" for token in tokens[1:divider])
        first, second = (kinds.index("v"), kinds.rindex("k") + 1)
        middle = kinds.index("k", first)
        found = tuple(tokens[1 : 1 + first]), tuple(tokens[1 + middle : 1 + second])
        assert found[0] != found[1]
        keys.append(found[0])
        lengths.append((first, middle - first, second - middle, len(kinds) - second))
        asked = tokens[divider + 1 : length - 1]
        values.append(tuple(token for token in asked if token >= FIRST + 3))
    short, long = ([key for key in keys if len(key) == size] for size in (1, 2))
    assert is_uniform(itertools.product(range(3, 6), repeat=1), short)
    assert is_uniform(itertools.product(range(3, 6), repeat=2), long)
    assert is_uniform(itertools.product((1, 2), repeat=4), lengths)
    of_two = [value for value in values if len(value) == 2]
    assert is_uniform(itertools.product((6, 7), repeat=2), of_two)


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
    ("kind", "options", "message"),
    [
        (SelectiveCopying, {"copied": 0}, r"task\.copied is 0"),
        (SelectiveCopying, {"noise": -1}, r"task\.noise is -1"),
        (SelectiveCopying, {"vocabulary": 1}, r"task\.vocabulary is 1"),
        (SelectiveCopying, {"noise_vocabulary": 0}, r"task\.noise_vocabulary is 0"),
        (InductionHeads, {"length": 1}, r"task\.length is 1"),
        (InductionHeads, {"vocabulary": 1}, r"task\.vocabulary is 1"),
        (NoisyRecall, {"pairs": 0}, r"task\.pairs is 0"),
        (NoisyRecall, {"noise": -1}, r"task\.noise is -1"),
        (NoisyRecall, {"key_vocabulary": 7}, r"task\.key_vocabulary is 7: .*at least 8"),
        (NoisyRecall, {"pairs": 1, "value_vocabulary": 1}, r"value_vocabulary is 1: .*at least 2"),
        (FuzzyRecall, {"pairs": 33}, r"task\.key_vocabulary is 32: .*at least 33"),
        (FuzzyRecall, {"value_tokens": 0}, r"task\.value_tokens is 0"),
        (FuzzyRecall, {"key_tokens": 7}, r"task\.key_tokens is 7: .*34,359,738,368 such keys"),
        (InContextBigrams, {"length": 3}, r"task\.length is 3"),
        (InContextBigrams, {"seed": -1}, r"task\.seed is -1"),
        (InContextBigrams, {"triggers": 1}, r"task\.triggers is 1"),
        (InContextBigrams, {"concentration": 0.0}, r"task\.concentration is 0\.0"),
    ],
)
def test_bad_settings(kind, options, message):
    with pytest.raises(UserError, match=message):
        kind(**options)
