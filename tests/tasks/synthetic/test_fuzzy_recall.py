"""Fuzzy recall: what is drawn how often, and settings that cannot be."""

import itertools

import jax
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.tasks.synthetic.fuzzy_recall import FuzzyRecall
from tests.support.outcomes import FIRST, drawn, is_uniform


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


def test_looking_up_the_last_token_is_recall():
    """Catches a perfect model that is held to a floor of 100 %, since keys have one token."""
    floors = FuzzyRecall(key_tokens=1, value_tokens=1).floors(jax.random.key(0), 256)
    assert floors["copy_next"] == 1
    assert floors["best"] < 0.5


# Catches a mistake that shows up later as a shape, or never.
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pairs": 33}, r"task\.key_vocabulary is 32: .*at least 33"),
        ({"value_tokens": 0}, r"task\.value_tokens is 0"),
        ({"key_tokens": 7}, r"task\.key_tokens is 7: .*34,359,738,368 such keys"),
    ],
)
def test_bad_settings(options, message):
    with pytest.raises(UserError, match=message):
        FuzzyRecall(**options)
