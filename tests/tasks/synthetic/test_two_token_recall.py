"""Recall by two-token keys: order of the combinations, and settings that cannot be."""

import itertools
import math

import jax
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.tasks.synthetic.two_token_recall import CompositionalRecall, JointRecall
from tests.support.outcomes import drawn, is_uniform, rows

SMALL = {"contexts": 2, "keys_per_context": 2, "queries": 1}
SMALL |= {"context_vocabulary": 2, "key_vocabulary": 2, "value_vocabulary": 4}


# Catches combinations that stand in a fixed order, or contexts that keep together.
def test_compositional_order_is_uniform():
    batch = drawn(CompositionalRecall(**SMALL))
    pairs = [tuple(zip(row[1:13:3], row[2:13:3], strict=True)) for row in batch.tokens.tolist()]
    combinations = itertools.product((3, 4), (5, 6))
    orders = list(itertools.permutations(combinations))
    assert is_uniform(orders, pairs)
    assert len(orders) == math.factorial(4)


# Catches one order of keys for all contexts, and a context that stands before each pair.
def test_joint_order_is_uniform():
    batch = drawn(JointRecall(**SMALL))
    assert batch.tokens.shape[1] == 1 + 2 * (1 + 4) + 1 + 2
    layout = batch.tokens[:, [1, 2, 4, 6, 7, 9]]
    found = itertools.product(*(itertools.permutations(ids) for ids in ((3, 4), (5, 6), (5, 6))))
    wanted = [(c[0], *first, c[1], *second) for c, first, second in found]
    assert is_uniform(wanted, rows(layout))


# Catches a floor that asks for both tokens, and one that knows which of them helps less.
def test_floor_of_half_a_key():
    task = CompositionalRecall(contexts=2, keys_per_context=5)
    assert task.floors(jax.random.key(0), 64)["half_key"] == 0.5


# Catches a mistake that shows up later as a shape, or never.
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"contexts": 1}, r"task\.contexts is 1"),
        ({"keys_per_context": 1}, r"task\.keys_per_context is 1"),
        ({"queries": 10}, r"task\.queries is 10: it must be 1 to 9, the combinations"),
        ({"contexts": 33}, r"task\.context_vocabulary is 32: 33 contexts need at least 33 tokens"),
        ({"key_vocabulary": 2}, r"task\.key_vocabulary is 2: 3 keys need at least 3 tokens"),
        (
            {"keys_per_context": 11},
            r"task\.value_vocabulary is 32: 33 combinations need at least 33 tokens",
        ),
    ],
)
@pytest.mark.parametrize("kind", [CompositionalRecall, JointRecall])
def test_bad_settings(kind, options, message):
    with pytest.raises(UserError, match=message):
        kind(**options)
