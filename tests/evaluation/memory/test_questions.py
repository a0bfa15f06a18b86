"""Documents asked for several pairs, one at a time."""

import json

import jax
import numpy as np
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.memory.questions import asked_pairs, asking
from mecheval_jax.tasks.documents.documents import Documents
from mecheval_jax.tasks.synthetic.compression import Compression
from mecheval_jax.tasks.synthetic.multi_query_recall import MultiQueryRecall
from mecheval_jax.tasks.synthetic.two_token_recall import CompositionalRecall
from tests.support.document_lines import write
from tests.support.planted_memory import RECALL, lively


def test_each_pair_is_asked_in_the_place_of_the_first():
    """Catches another pair's answer, a question that moves, a document changed before it."""
    batch = asked_pairs(lively("gla"), 3, 16)
    assert len(batch.tokens) == 16
    assert batch.targets.shape[1] >= 3
    for number in range(3):
        alone = asking(batch, number)
        query = np.asarray(batch.query_positions)[:, :1]
        np.testing.assert_array_equal(alone.query_positions, query)
        key, value = (np.take_along_axis(alone.tokens, alone.roles[r], 1) for r in ("key", "value"))
        np.testing.assert_array_equal(np.take_along_axis(alone.tokens, query, 1), key)
        np.testing.assert_array_equal(alone.targets, value)
        before = np.arange(batch.tokens.shape[1])[None] < query
        assert ((alone.tokens == batch.tokens) | ~before).all()
        np.testing.assert_array_equal(alone.roles["divider"], batch.roles["divider"][:, :1])


def test_documents_of_many_queries():
    """Catches other questions before the one that is asked, a pair that is written twice, and
    documents that are refused since some ask for fewer pairs."""
    task = MultiQueryRecall(vocabulary=64, lengths=(12, 32), pairs=(2, 4), num_passes=2)
    batch = asked_pairs(lively("gla", task), 4, 32)
    assert 0 < len(batch.tokens) < 32
    for number in range(4):
        alone = asking(batch, number)
        query = np.asarray(alone.query_positions)
        key, value = (np.take_along_axis(alone.tokens, alone.roles[r], 1) for r in ("key", "value"))
        np.testing.assert_array_equal(np.take_along_axis(alone.tokens, query, 1), key)
        np.testing.assert_array_equal(alone.targets, value)
        np.testing.assert_array_equal(alone.roles["query"], query)
        before = np.arange(32)[None] < query
        assert (np.asarray(batch.tokens) == key)[before].sum() == len(query)  # where it is written
        assert (query[:, 0] == np.asarray(batch.query_positions).min(axis=1)).all()


@pytest.mark.parametrize("num_passes", [1, 2])
def test_a_pair_that_is_asked_alone_stands_where_it_did(num_passes):
    """Catches pairs that are taken for repetitions of the asked one, when only one is asked."""
    task = MultiQueryRecall(
        vocabulary=64, lengths=(24, 40), pairs=(3, 5), num_passes=num_passes, noise=False
    )
    batch = task.sample(jax.random.key(0), 16, "test")
    for role in ("key", "value"):
        before = task.corrupted_places(batch, role)
        after = task.corrupted_places(asking(batch, 0), role)
        assert (before.sum(axis=1) == num_passes).all()
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize(
    ("task", "pairs", "message"),
    [
        (Compression(length=4, queries=2), 2, "the task has no role 'key'"),
        (
            CompositionalRecall(contexts=2, keys_per_context=2),
            2,
            "a question is not the key's token alone",
        ),
        (RECALL, 5, r"cannot ask for 5 pairs, one by one: task\.queries is 5"),
    ],
)
def test_documents_that_cannot_be_asked(task, pairs, message):
    """Catches questions about nothing, and of half a key."""
    with pytest.raises(UserError, match=message):
        asked_pairs(lively("gla", task), pairs, 8)


def of_lines(folder, keys, asked, lacking=()):
    """A task of documents of five pairs, of which these are asked; roles that a question lacks."""
    lines = []
    for i in range(30):
        pairs = [(key, f"v{(i + n) % 7}") for n, key in enumerate(keys)]
        words, questions = " , ".join(f"{key} {value}" for key, value in pairs), []
        text = " ".join([words, "?", *(keys[n] for n in asked), f"n{i}"])
        at = len(words) + 3
        for number, n in enumerate(asked):
            key, value = pairs[n]
            begins = sum(len(f"{one} {other} , ") for one, other in pairs[:n])
            spans = {"key": [begins, begins + len(key)]}
            spans["value"] = [spans["key"][1] + 1, spans["key"][1] + 1 + len(value)]
            given = {role: span for role, span in spans.items() if (number, role) not in lacking}
            questions.append({"query": [at, at + len(key)], "answer": value, **given})
            at += len(key) + 1
        lines.append(json.dumps({"text": text, "queries": questions}))
    return Documents(path=write(folder, *lines), dev=0.1, test=0.4)


def test_pairs_of_documents_of_ones_own(tmp_path):
    """Catches a pair that is its own donor, a question about no pair, and half of a key."""
    keys = [f"k{n}" for n in range(5)]
    batch = asked_pairs(lively("gla", of_lines(tmp_path, keys, (3, 0, 2, 4, 4))), 4, 8)
    named = np.take_along_axis(np.asarray(batch.tokens), np.asarray(batch.roles["key"]), 1)
    assert all(len({*row[:4]}) == 4 for row in named.tolist())
    for asked, lacking in (
        ((3, 0, 3, 2), ()),
        ((3, 0, 2, 4), ((2, "key"), (2, "value"))),
        ((3, 0, 2, 4), ((1, "value"),)),
    ):
        with pytest.raises(UserError, match="the first 4 questions of each document are about few"):
            asked_pairs(lively("gla", of_lines(tmp_path, keys, asked, lacking)), 4, 8)
    twice = ["k0", "k1", "k0", "k3", "k4"]  # at two places, and asked at both
    with pytest.raises(UserError, match="the first 4 questions of each document are about few"):
        asked_pairs(lively("gla", of_lines(tmp_path, twice, (0, 1, 2, 3))), 4, 8)
    long = [f"red {key}" for key in keys]
    with pytest.raises(UserError, match="a question is not the key's token alone"):
        asked_pairs(lively("gla", of_lines(tmp_path, long, (3, 0, 2, 4))), 4, 8)
