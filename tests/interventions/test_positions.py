"""Positions by role, index and mask, and which documents they leave alone."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.interventions import (
    inside,
    interchange,
    locate,
    mean,
)
from mecheval_jax.interventions.positions import (
    as_computed,
    check_positions,
    gather,
    positions_mask,
)
from mecheval_jax.tasks.base import Batch
from tests.support.two_runs import DOCUMENTS, differs, same

TOKENS = jnp.ones((3, 4), jnp.int32)


BATCH = Batch(
    tokens=TOKENS,
    query_positions=jnp.array([[3], [2], [3]]),
    targets=jnp.zeros((3, 1), jnp.int32),
    weights=jnp.ones((3, 1)),
    roles={"key": jnp.array([[1], [0], [2]]), "next_key": jnp.array([[3], [-1], [-1]])},
    lengths=jnp.array([4, 3, 4]),
)


def test_positions_by_role_index_and_mask():
    """Catches roles of another query, columns out of order, an index that wraps."""
    columns = locate(BATCH, "key", 2, jnp.array([0, 1, 3]))
    np.testing.assert_array_equal(columns, [[1, 2, 0], [0, 2, 1], [2, 2, 3]])
    np.testing.assert_array_equal(
        locate(BATCH, "next_key", 3, skip_absent=True), [[3, 3], [-1, -1], [-1, 3]]
    )
    mask = inside(BATCH)
    np.testing.assert_array_equal(mask, [[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 1, 1]])
    np.testing.assert_array_equal(locate(BATCH, mask), mask)
    everywhere = jnp.ones(mask.shape, bool)
    np.testing.assert_array_equal(locate(BATCH, everywhere, skip_absent=True), mask)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        (
            ("nextkey",),
            "unknown role 'nextkey' (did you mean 'next_key'?): valid are key, next_key",
        ),
        (("next_key",), "role 'next_key' does not exist in 2 of 3 documents: 1, 2 (skip_absent"),
        ((3,), "position 3 does not exist in 1 of 3 documents: 1 "),
        ((-1,), "position -1 does not exist in 3 of 3 documents: 0, 1, 2 "),
        ((jnp.array([0, 3, 1]),), "a position does not exist in 1 of 3 documents: 1 "),
        ((jnp.array([0, 1]),), "2 positions for 3 documents"),
        ((jnp.ones((3, 4), bool),), "a selected position does not exist in 1 of 3 documents: 1 "),
        ((jnp.ones((3, 3), bool),), "the mask is [3, 3], the documents [3, 4]"),
        ((jnp.ones((3, 4), bool), "key"), "a mask stands alone"),
        ((), "no positions"),
    ],
)
def test_positions_that_do_not_exist(where, message):
    """Catches a document that is left out silently."""
    with pytest.raises(UserError, match=re.escape(message)):
        locate(BATCH, *where)


def test_queries_and_numbers_of_numpy():
    """Catches a query that wraps or is clipped to the last, and a NumPy index taken for a mask."""
    np.testing.assert_array_equal(locate(BATCH, np.int64(2)), locate(BATCH, 2))
    for query in (1, -1):
        with pytest.raises(UserError, match=f"query {query}: these documents have queries 0 to 0"):
            locate(BATCH, "key", query=query)


def test_an_absent_position_leaves_its_document_alone(subject):
    """Catches -1 read as the last position, and documents that touch each other."""
    present = jnp.array([True, False, True, False])
    positions = jnp.where(present, subject.key, -1)
    logits = subject.patched(subject.restore("block_0/block_input", positions))
    same(logits[~present], subject.logits[~present])
    same(logits[present], subject.other_logits[present])
    minus_two = interchange(subject.other, ["final_norm"], jnp.full(DOCUMENTS, -2))
    same(subject.patched(minus_two), subject.logits)


def test_several_positions(subject):
    """Catches only the first or the last position of a document being patched."""
    columns = [subject.key, subject.key + 1, jnp.where(subject.key > 2, 0, -1)]
    together = subject.restore("block_1/mixer_input", jnp.stack(columns, axis=1))
    apart = [subject.restore("block_1/mixer_input", column) for column in columns]
    same(subject.patched(together), subject.patched(*apart))
    assert differs(subject.patched(together), subject.patched(apart[0])).any()


@pytest.mark.parametrize(
    ("positions", "chosen"), [([1, -1], [[1], []]), ([[0, 2], [-1, 2]], [[0, 2], [2]])]
)
def test_masks(positions, chosen):
    """Catches a mask along the wrong axis, or with an axis too few."""
    mask = np.asarray(positions_mask(jnp.array(positions), (len(positions), 4, 1, 1)))
    assert mask.shape == (2, 4, 1, 1)
    for row, expected in zip(mask, chosen, strict=True):
        assert np.flatnonzero(row).tolist() == expected


def test_positions_where_only_the_query_is_computed():
    """Catches a role that is read at the query's place though it stands elsewhere."""
    query, positions = jnp.array([[5], [3]]), jnp.array([[5, 2, -1], [1, 3, 3]])
    whole, at_query = jnp.zeros((2, 7, 4)), jnp.zeros((2, 1, 4))
    same(as_computed(positions, query, whole), positions)
    same(as_computed(positions, query, at_query), [[0, -1, -1], [-1, 0, 0]])
    same(as_computed(positions[:, 0], query, at_query), [[0], [-1]])


def test_a_traced_position_beyond_the_documents_is_absent():
    """Catches a whole site that becomes NaN by one position, where it cannot be refused."""
    activation = jnp.arange(3 * 4 * 2.0).reshape(3, 4, 2)
    positions = jnp.array([0, 1, 4])
    found, present = jax.jit(gather)(activation, positions)
    np.testing.assert_array_equal(present[:, 0], [True, True, False])
    patch = jax.jit(lambda one: mean({"embedding": activation}, ["embedding"], one))(positions)
    assert np.isfinite(patch["embedding"]["value"]).all()
    np.testing.assert_array_equal(found[:2, 0], activation[[0, 1], [0, 1]])


def test_positions_are_those_that_were_given():
    """Catches a mask that is held by reference, and emptied by a loop that uses it again."""
    mask = np.ones((4, 5), bool)
    held = check_positions(mask)
    mask[:] = False
    assert held.all()


@pytest.mark.parametrize(("given", "of", "chosen"), [([1, 4], 1, 1), ([[0, 4], [-1, 2]], 0, 2)])
def test_positions_behind_the_last(given, of, chosen):
    """Catches an intervention at a token that no document has, which does nothing in silence."""
    shape, positions = (2, 4, 3), jnp.array(given)
    with pytest.raises(UserError, match=f"position 4 of document {of}: valid are 0 to 3"):
        interchange({"final_norm": jnp.zeros(shape)}, "final_norm", positions)
    with pytest.raises(UserError, match="position 4"):
        gather(jnp.zeros(shape), positions)
    traced = jax.jit(lambda one: positions_mask(one, shape))(positions)  # not looked at
    assert int(traced.sum()) == chosen
