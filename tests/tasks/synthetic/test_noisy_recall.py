"""Noisy recall: what is drawn how often, and settings that cannot be."""

import itertools

import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.tasks.synthetic.noisy_recall import NoisyRecall
from tests.support.outcomes import (
    FIRST,
    drawn,
    is_uniform,
)


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


# Catches a mistake that shows up later as a shape, or never.
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pairs": 0}, r"task\.pairs is 0"),
        ({"noise": -1}, r"task\.noise is -1"),
        ({"key_vocabulary": 7}, r"task\.key_vocabulary is 7: .*at least 8"),
        ({"pairs": 1, "value_vocabulary": 1}, r"value_vocabulary is 1: .*at least 2"),
    ],
)
def test_bad_settings(options, message):
    with pytest.raises(UserError, match=message):
        NoisyRecall(**options)
