"""State tracking: the groups, what is drawn how often, and settings that cannot be."""

import itertools

import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.tasks.synthetic.state_tracking import (
    GROUPS,
    StateTracking,
    multiplication_table,
)
from tests.support.outcomes import FIRST, drawn, is_uniform, rows

ORDERS = {"parity": 2, "S3": 6, "A5": 60}


# Catches a table that is no group, an identity that is not number 0, A5 with odd permutations.
@pytest.mark.parametrize("group", GROUPS)
def test_tables_are_groups(group):
    table = multiplication_table(group)
    size = ORDERS[group]
    assert table.shape == (size, size)
    numbers = np.arange(size)
    np.testing.assert_array_equal(table[0], numbers)
    np.testing.assert_array_equal(table[:, 0], numbers)
    for lines in (table, table.T):
        np.testing.assert_array_equal(np.sort(lines, axis=1), np.tile(numbers, (size, 1)))
    np.testing.assert_array_equal(table[table], table[numbers[:, None, None], table[None]])


# Catches a group that is solvable: all commutators of A5 generate it, those of S3 do not.
def test_a5_is_its_own_derived_group():
    def derived(table):
        inverse = table.argmin(axis=1)  # the product of an element and its inverse is 0
        swapped = table[inverse[:, None], inverse[None]]
        reached = set(table[swapped, table].ravel().tolist())
        while True:
            more = reached | {int(table[a, b]) for a in reached for b in reached}
            if more == reached:
                return reached
            reached = more

    assert len(derived(multiplication_table("A5"))) == 60
    assert len(derived(multiplication_table("S3"))) == 3
    assert len(derived(multiplication_table("parity"))) == 1


# Catches words that leave some out, and prefixes that are asked though only the end is wanted.
def test_words_are_uniform():
    batch = drawn(StateTracking(group="parity", length=3, every_prefix=False))
    words = batch.tokens[:, 1:] - FIRST
    assert is_uniform(itertools.product((0, 1), repeat=3), rows(words))
    np.testing.assert_array_equal(batch.targets[:, 0], FIRST + 2 + words.sum(axis=1) % 2)
    assert batch.query_positions.shape[1] == 1


# Catches a mistake that shows up later as a shape, or never.
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"group": "S4"}, r"group 'S4'.*valid are parity, S3, A5"),
        ({"length": 0}, r"task\.length is 0"),
    ],
)
def test_bad_settings(options, message):
    with pytest.raises(UserError, match=message):
        StateTracking(**options)
