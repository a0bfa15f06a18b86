"""Capacity: theory by its equations, and recall at every number of pairs."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.config import CapacityConfig
from mecheval_jax.evaluation.memory import capacity
from mecheval_jax.evaluation.memory.capacity import (
    additive_capacity,
    capacity_rows,
    hashing_recall,
)
from mecheval_jax.models.decoding import state_bytes
from mecheval_jax.statistics.bootstrap import Bootstrap
from mecheval_jax.statistics.intervals import wilson
from mecheval_jax.tasks.synthetic.forgetting_recall import ForgettingRecall
from mecheval_jax.tasks.synthetic.hop_recall import HopRecall
from mecheval_jax.tasks.synthetic.memorization import Memorization
from mecheval_jax.tasks.synthetic.multi_query_recall import MultiQueryRecall
from mecheval_jax.tasks.synthetic.two_token_recall import CompositionalRecall
from tests.support import planted, planted_memory


# Catches a logarithm of base 2, and a capacity that is not the inverse of its equation.
@pytest.mark.parametrize("pairs", [2.0, 16.0, 100.0])
def test_an_additive_memory(pairs):
    assert additive_capacity(2 * pairs * math.log(pairs)) == pytest.approx(pairs)
    # At 1/s = sqrt(2 log V) half is recalled.
    assert hashing_recall(pairs * 2 * math.log(64), pairs, 64) == pytest.approx(0.5)
    assert hashing_recall(1024, 4, 64) > hashing_recall(1024, 128, 64)


# Catches documents of the trained number of pairs everywhere, and a model that recalls everything
# with a threshold.
def test_a_memory_that_holds_every_pair():
    subject = planted_memory.delta_rule(planted_memory.RECALL, 0.999)
    table = pd.DataFrame(capacity_rows(subject, CapacityConfig()))
    recall = table[table["metric"] == "recall"].set_index("pairs")
    assert list(recall.index) == [1, 2, 4]
    assert (recall["value"] == 1).all()
    assert (recall["low"] < 1).all()
    by_metric = table.set_index("metric")
    threshold = by_metric.loc["threshold"]
    assert pd.isna(threshold["value"])
    assert threshold["beyond"] == "above"
    held = state_bytes(subject.config, 13)
    assert set(table["state_bytes"]) == {held}
    assert by_metric.loc["additive_threshold", "value"] == pytest.approx(
        additive_capacity(held / 4)
    )
    hashing = table[table["metric"] == "hashing"].set_index("pairs")["value"]
    assert hashing[4] == pytest.approx(hashing_recall(held / 4, 4, 8))
    places = table[table["metric"] == "recall_by_place"]
    assert (places["pairs"] == 4).all()
    assert list(places["place"]) == [0.125, 0.375, 0.625, 0.875]


@pytest.mark.parametrize("passes", [1, 2])
def test_places_among_the_pairs_of_a_task_without_a_divider(passes):
    """Catches places as shares of the tokens before the question, of which all pairs are early.

    Where all pairs stand twice, keys are those of the second time, which would all be late ones.
    """
    task = MultiQueryRecall(vocabulary=64, lengths=(48,), pairs=(8,), power=1.0, num_passes=passes)
    rows = capacity_rows(planted_memory.lively("delta_net", task), CapacityConfig())
    places = [row["place"] for row in rows if row["metric"] == "recall_by_place"]
    assert places == [0.125, 0.375, 0.625, 0.875]


@pytest.mark.parametrize("queries", [1, 8])
def test_answers_of_a_document_by_place_are_no_independent_trials(queries):
    """Catches Wilson's interval of all answers in a part, as if each were another document's.

    Every document has all its answers right or all of them wrong. With one question each, Wilson's
    interval is that of the documents, and replicates would be in its place.
    """
    documents, words = 32, {"key_vocabulary": 16, "value_vocabulary": 16}
    task = ForgettingRecall(pairs=8, rebound=1, queries=queries, **words)
    batch = planted.documents(task, documents)
    right = np.random.default_rng(0).random((documents, 1)) < 0.5
    correct = np.broadcast_to(right, batch.weights.shape).astype(np.float32)
    boot = Bootstrap([documents], 200, 0)
    rows = list(capacity._by_place(batch, correct, 1, 0.95, boot))
    assert [row["place"] for row in rows] == [0.125, 0.375, 0.625, 0.875]
    part = np.asarray(batch.roles["key"]) * 4 // (1 + task.body_length)
    for number, row in enumerate(rows):
        inside = part == number
        if queries == 1:
            ends = wilson(float(correct[inside].sum()), int(inside.sum()))
            assert (row["low"], row["high"]) == ends
            continue
        low, high = wilson(row["value"] * documents, documents)
        assert 0 <= row["low"] < row["value"] < row["high"] <= 1
        assert row["high"] - row["low"] > 0.9 * (high - low)


def test_a_mixer_without_a_recurrent_form():
    """Catches recall that is refused because the size of the state is not known."""
    subject = planted_memory.lively("tests.support.silent:Silent")
    table = pd.DataFrame(capacity_rows(subject, CapacityConfig(pairs=(2, 4))))
    assert list(table.loc[table["metric"] == "recall", "pairs"]) == [2, 4]
    assert "threshold" in set(table["metric"])
    assert {"hashing", "additive_threshold"}.isdisjoint(table["metric"])
    assert table["state_bytes"].isna().all()


def test_attention_at_a_single_number_of_pairs():
    """Catches theory of a fixed state beside one that grows, where no other size was measured."""
    task = HopRecall(pairs=4, hops=2, vocabulary=8, queries=2)
    table = pd.DataFrame(capacity_rows(planted_memory.lively("attention", task), CapacityConfig()))
    assert list(table.loc[table["metric"] == "recall", "pairs"]) == [4]
    assert {"hashing", "additive_threshold"}.isdisjoint(table["metric"])


def test_a_number_of_pairs_that_a_task_cannot_have_is_left_out():
    """Catches an analysis that ends at one pair, which is no cycle."""
    task = HopRecall(pairs=4, hops=2, vocabulary=8, queries=2)
    rows = capacity_rows(planted_memory.lively("delta_net", task), CapacityConfig())
    assert [row["pairs"] for row in rows if row["metric"] == "recall"] == [4]


# Catches pairs beyond the vocabulary or the model's length that end as a shape, and a bad list.
def test_numbers_of_pairs_that_cannot_be():
    subject = planted_memory.delta_rule(planted_memory.RECALL, 0.5, room=0)
    with pytest.raises(UserError, match=r"task\.key_vocabulary is 8: 9 pairs need at least 9"):
        next(capacity_rows(subject, CapacityConfig(pairs=(1, 9))))
    with pytest.raises(UserError, match=r"pairs=8.* documents of 21 tokens, .*max_length is 13"):
        next(capacity_rows(subject, CapacityConfig(pairs=(1, 8))))


def test_one_pair_tells_nothing():
    """Catches a perfect model whose threshold lies below the measured sizes."""
    subject = planted_memory.delta_rule(planted_memory.RECALL, 0.5)
    subject = dataclasses.replace(subject, task=dataclasses.replace(subject.task, pairs=1))
    with pytest.raises(UserError, match=r"task\.pairs is 1: capacity needs documents of 2 pairs"):
        next(capacity_rows(subject, CapacityConfig()))


def test_a_task_without_a_number_of_pairs():
    """Catches recall of contexts that is called recall of pairs, with a guess of another size."""
    subject = planted_memory.delta_rule(planted_memory.RECALL, 0.5)
    subject = dataclasses.replace(subject, task=CompositionalRecall())
    with pytest.raises(UserError, match=r"no number of pairs .*generalization"):
        next(capacity_rows(subject, CapacityConfig()))
    subject = dataclasses.replace(subject, task=Memorization())
    with pytest.raises(UserError, match=r"Memorization has no number of pairs"):
        next(capacity_rows(subject, CapacityConfig()))
