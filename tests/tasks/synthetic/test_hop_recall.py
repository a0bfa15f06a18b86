"""k-hop recall: what is drawn how often, and settings that cannot be."""

import itertools

import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.tasks.synthetic.hop_recall import HopRecall
from tests.support.outcomes import drawn, is_uniform, rows

TASK = HopRecall(pairs=3, hops=2, queries=1, vocabulary=4)


# Catches steps in the order of the cycle, and tokens or cycles that some documents never have.
def test_steps_are_uniform():
    tokens = drawn(TASK).tokens
    assert is_uniform(itertools.permutations(range(3, 7), 3), rows(tokens[:, 1:7:2]))
    # Of three keys the first can lead to either of the others.
    second = (tokens[:, 2] == tokens[:, 3]).astype(int)
    assert is_uniform((0, 1), second.tolist())


# Catches an answer that fewer hops give, or that is the asked token.
def test_hops_lead_to_different_tokens():
    batch = drawn(TASK)
    asked = np.take_along_axis(batch.tokens, batch.query_positions, axis=1)
    first_value = np.take_along_axis(batch.tokens, batch.roles["first_value"], axis=1)
    assert ((batch.targets != asked) & (batch.targets != first_value)).all()


# Catches a mistake that shows up later as a shape, or never.
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pairs": 1}, r"task\.pairs is 1"),
        ({"hops": 0}, r"task\.hops is 0: it must be 1 to 7, fewer than the pairs"),
        ({"hops": 8}, r"task\.hops is 8"),
        ({"queries": 9}, r"task\.queries is 9"),
        ({"pairs": 65}, r"task\.vocabulary is 64: 65 pairs need at least 65 tokens"),
    ],
)
def test_bad_settings(options, message):
    with pytest.raises(UserError, match=message):
        HopRecall(**options)
