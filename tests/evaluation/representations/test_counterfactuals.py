"""Pairs of documents differ in one variable, and the answer that its exchange must give."""

import dataclasses
import types

import jax
import numpy as np

from mecheval_jax.evaluation.representations.counterfactuals import (
    apart,
    counterfactual,
    present,
)
from mecheval_jax.tasks.synthetic.stacked_recall import StackedRecall
from mecheval_jax.tasks.synthetic.two_token_recall import CompositionalRecall
from tests.support import planted
from tests.support.treecall_cases import VARIANTS as TREECALL
from tests.support.variable_pairs import DOCUMENTS, documents, pairs_of


def arrays(value):
    """Arrays in NumPy, and dataclasses of them as namespaces."""
    if isinstance(value, dict):
        return {name: arrays(one) for name, one in value.items()}
    if dataclasses.is_dataclass(value):
        return types.SimpleNamespace(**arrays(vars(value)))
    return np.asarray(value)


# Catches documents that differ in more than the variable, an answer of the wrong document, and an
# association that the base knows, where the answer would prove nothing.
def test_counterfactuals():
    batch, task = arrays(documents()), planted.TASK
    rows = np.arange(DOCUMENTS)
    for variable in task.corruptions:
        pairs = arrays(pairs_of(variable))
        position = batch.roles[variable][:, 0]
        differs = pairs.base.tokens != pairs.source.tokens
        assert differs.sum(axis=1).tolist() == [1] * DOCUMENTS
        assert differs[rows, position].all()
        np.testing.assert_array_equal(pairs.source.tokens, batch.tokens[:, : task.read_length])
        np.testing.assert_array_equal(pairs.base.targets[:, 0], batch.targets[:, 0])
        assert pairs.valid.all()
    pairs = arrays(pairs_of("association"))
    for row in rows:
        other = (row + 1) % DOCUMENTS
        query = batch.query_positions[row, 0]
        tokens = batch.tokens[row, : task.read_length].copy()
        tokens[query] = batch.tokens[other, batch.query_positions[other, 0]]
        np.testing.assert_array_equal(pairs.base.tokens[row], tokens)
        np.testing.assert_array_equal(
            pairs.source.tokens[row], batch.tokens[other, : task.read_length]
        )
        assert pairs.base.targets[row, 0] == batch.targets[other, 0]
        known = {tokens[query], pairs.base.targets[row, 0]} & set(tokens[:query])
        assert pairs.valid[row] == (not known)
        for role, positions in pairs.source.roles.items():
            assert positions[row, 0] == batch.roles[role][other, 0]
    counted = present(pairs_of("association"), "next_key")
    absent = (pairs.base.roles["next_key"] < 0) | (pairs.source.roles["next_key"] < 0)
    np.testing.assert_array_equal(counted, pairs.valid & ~absent[:, 0])


def test_a_question_of_several_tokens_is_put_in_whole():
    """Catches a question that asks another item than the document whose answer is expected."""
    task = CompositionalRecall(queries=1)
    batch = task.sample(jax.random.key(0), 40, "test")
    pairs = arrays(counterfactual(task, batch, "association", jax.random.key(0)))
    own, length = arrays(batch), task.read_length
    begins = own.roles["divider"][:, 0] + 1
    assert (own.query_positions[:, 0] == begins + 1).all()
    for row, begin in enumerate(begins):
        other = (row + 1) % len(begins)
        expected = own.tokens[row, :length].copy()
        expected[begin : begin + 2] = own.tokens[other, begins[other] : begins[other] + 2]
        np.testing.assert_array_equal(pairs.base.tokens[row], expected)
    assert 10 < pairs.valid.sum() < 40


def test_what_a_document_of_stacked_pairs_knows_cannot_be_told():
    """Catches an association that the base knows in a token that is key and value at once."""
    task = StackedRecall()
    batch = task.sample(jax.random.key(0), 40, "test")
    pairs = arrays(counterfactual(task, batch, "association", jax.random.key(0)))
    key = pairs.base.tokens[np.arange(40), batch.query_positions[:, 0]] - task.classes["k"].start
    held = (arrays(batch).tokens[:, 1:9] - task.classes["p"].start) // task.value_vocabulary
    assert (held == key[:, None]).any(axis=1).sum() > 10
    assert not pairs.valid.any()
    assert arrays(counterfactual(task, batch, "key", jax.random.key(0))).valid.all()


def test_documents_may_all_be_shorter_than_the_longest_of_their_task():
    """Catches tokens counted up to the task's longest document, past the end of these."""
    task = TREECALL["easy"]
    batch = task.sample(jax.random.key(0), 40, "test")
    assert batch.tokens.shape[1] < task.read_length
    pairs = arrays(counterfactual(task, batch, "association", jax.random.key(0)))
    own = arrays(batch)
    asked, rows = own.query_positions[:, 0], np.arange(40)
    expected = own.tokens.copy()
    expected[rows, asked] = np.roll(own.tokens[rows, asked], -1)
    np.testing.assert_array_equal(pairs.base.tokens, expected)
    assert 10 < pairs.valid.sum() < 40


def test_held_out_documents_expect_associations_of_their_own():
    """Catches a subspace that is judged by answers to which it was fitted."""
    tested = DOCUMENTS // 4
    for variable in ("key", "association"):
        pairs = arrays(jax.jit(apart, static_argnums=1)(pairs_of(variable), tested))
        asked = np.take_along_axis(pairs.base.tokens, pairs.base.roles["query"], axis=1)[:, 0]
        expected = list(zip(asked.tolist(), pairs.base.targets[:, 0].tolist(), strict=True))
        held_out = {expected[i] for i in range(tested)}
        fitted = {expected[i] for i in range(tested, DOCUMENTS) if pairs.valid[i]}
        assert len(held_out) > 5
        assert len(fitted) > 20
        assert not held_out & fitted
        # The documents stay what they are, base and source together.
        before = arrays(pairs_of(variable))
        rows = {(b.tobytes(), s.tobytes()) for b, s in zip(
            before.base.tokens, before.source.tokens, strict=True)}  # fmt: skip
        assert rows == {(b.tobytes(), s.tobytes()) for b, s in zip(
            pairs.base.tokens, pairs.source.tokens, strict=True)}  # fmt: skip
