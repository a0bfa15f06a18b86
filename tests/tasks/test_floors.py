"""Floors of recall, of documents that are counted by hand."""

import collections
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.tasks import floors as floors_module
from mecheval_jax.tasks.base import Batch
from mecheval_jax.tasks.floors import (
    KINDS,
    RECALL_LIKE,
    copy_next,
    kind_of,
    majority,
    recall_floors,
    with_best,
)
from mecheval_jax.tasks.synthetic.associative_recall import AssociativeRecall
from mecheval_jax.tasks.synthetic.fuzzy_recall import FuzzyRecall
from mecheval_jax.tasks.synthetic.in_context_bigrams import InContextBigrams
from mecheval_jax.tasks.synthetic.multi_query_recall import MultiQueryRecall
from mecheval_jax.tasks.synthetic.state_tracking import StateTracking
from tests.support.task_cases import CASES

ANSWERS = range(10, 14)


def batch_of(divider):
    """Two documents, the second with one query that does not count."""
    roles = {"divider": jnp.array([[6, 6], [4, -1]])} if divider else {}
    return Batch(
        #                   0   1  2   3  4   5  6   7   8
        tokens=jnp.array([[1, 10, 5, 11, 6, 10, 2, 12, 10], [1, 12, 5, 13, 2, 5, 0, 0, 0]]),
        query_positions=jnp.array([[6, 8], [5, 0]]),
        targets=jnp.array([[10, 11], [13, 12]]),
        weights=jnp.array([[1.0, 1.0], [1.0, 0.0]]),
        roles=roles,
        lengths=jnp.array([9, 6]),
    )


# Catches tokens behind the divider that count as seen, a query without weight that counts, a last
# token that is the document's own and not the last before the query, and a majority of tokens.
@pytest.mark.parametrize(
    ("divider", "in_document", "last"),
    [
        # 10 11 10 and 12 13 are seen: 10 is two of three, 11 one of three, 13 one of two.
        (True, (2 / 3 + 1 / 3 + 1 / 2) / 3, 2 / 3),
        # Without one the second query sees 12 as well, which is then the last.
        (False, (2 / 3 + 1 / 4 + 1 / 2) / 3, 2 / 3),
    ],
)
def test_by_hand(divider, in_document, last):
    batch = batch_of(divider)
    trained = batch.replace(targets=jnp.array([[12, 13], [13, 12]]))
    floors = recall_floors(trained, batch, ANSWERS)
    expected = {"uniform": 1 / 4, "in_document": in_document, "first": 1 / 3, "last": last}
    # Before the first query 10 stands twice; 12 and 13 once each.
    expected |= {"majority": 1 / 3, "frequent": (1 + 0 + 1 / 2) / 3}
    assert floors == pytest.approx(expected, rel=1e-6)


def test_the_commonest_answer_is_that_of_training():
    """Catches an answer that is the commonest in the judged documents alone, by chance, and one
    that is counted where it has no weight."""
    batch = batch_of(divider=True)
    answers = {(12, 12, 13, 12): 0, (11, 10, 11, 12): 1 / 3, (13, 12, 13, 12): 1 / 3}
    for of_train, expected in answers.items():
        train = batch.replace(targets=jnp.reshape(jnp.array(of_train), (2, 2)))
        assert majority(train, batch) == pytest.approx(expected)
    # Of equally many one is the commonest of 600 documents by chance, and is of no use in others.
    task, key = StateTracking(group="A5", length=2, every_prefix=False), jax.random.key(1)
    states = np.asarray(task.sample(key, 600, "test").targets).ravel()
    train = np.asarray(task.sample(jax.random.fold_in(key, 1), 600, "train").targets).ravel()
    found = task.floors(key, 600)["majority"]
    assert found == pytest.approx((states == np.bincount(train).argmax()).mean())
    assert found < 0.025 < np.bincount(states).max() / 600


def documents_of(batch):
    """Every query that counts: what stands before the divider, what is asked, answer, its rank."""
    tokens = np.asarray(batch.tokens)
    for i in range(len(tokens)):
        for j in np.flatnonzero(np.asarray(batch.weights)[i]):
            query = int(batch.query_positions[i, j])
            end = int(batch.roles["divider"][i, j]) if "divider" in batch.roles else query
            yield tokens[i, :end].tolist(), tokens[i, query], int(batch.targets[i, j]), (i, j)


def mean(scores):
    scores = list(scores)
    return sum(scores) / len(scores)


def test_elimination_as_counted():
    """Catches an answer that is still to come struck out, or one that was given left in."""
    task = AssociativeRecall(pairs=4, queries=3, key_vocabulary=9, value_vocabulary=9)
    batch = task.sample(jax.random.key(1), 300, "test")
    given, scores = collections.defaultdict(list), []
    for seen, _, answer, (i, _) in documents_of(batch):
        left = [t for t in seen if t in task.class_of("value") and t not in given[i]]
        scores.append(left.count(answer) / len(left))
        given[i].append(answer)
    found = with_best(recall_floors(batch, batch, task.class_of("value")))
    assert found["elimination"] == pytest.approx(mean(scores), rel=1e-5)
    assert found["elimination"] == pytest.approx((1 / 4 + 1 / 3 + 1 / 2) / 3, rel=1e-5)
    assert found["best"] == found["elimination"]


def test_what_a_split_may_ask_and_has_not_asked_as_counted():
    """Catches a floor of documents with held-out cells and several queries that is too low, since
    what is known of cells and of earlier answers is not put together."""
    sizes = {"key_vocabulary": 24, "value_vocabulary": 24}
    task = AssociativeRecall(pairs=4, queries=3, held_out=0.2, **sizes)
    key = jax.random.key(1)
    batch = task.sample(key, 300, "test")
    askable = {k: np.asarray(task._askable("test", jnp.asarray(k))) for k in range(24)}
    first_key, first_value = task.classes["k"].start, task.classes["v"].start
    given, scores = collections.defaultdict(list), []
    for seen, asked, answer, (i, _) in documents_of(batch):
        left = [
            token
            for token in seen
            if token in task.class_of("value")
            and token not in given[i]
            and bool(askable[asked - first_key][token - first_value])
        ]
        scores.append(left.count(answer) / len(left))
        given[i].append(answer)
    found = task.floors(key, 300, "test")
    assert found["split_elimination"] == pytest.approx(mean(scores), rel=1e-5)
    assert found["best"] == found["split_elimination"] > found["split"] + 0.02


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("split", ["dev", "test"])
def test_what_a_split_may_ask_as_counted(reverse, split):
    """Catches keys and values of a cell mixed up, and train's cells taken for test's."""
    sizes = {"key_vocabulary": 24, "value_vocabulary": 24, "reverse": reverse}
    task = AssociativeRecall(pairs=4, held_out=0.2, **sizes)
    key = jax.random.key(1)
    batch = task.sample(key, 300, split)
    askable = {k: np.asarray(task._askable(split, jnp.asarray(k))) for k in range(24)}
    first_key, first_value = task.classes["k"].start, task.classes["v"].start
    scores = []
    for seen, asked, answer, _ in documents_of(batch):
        candidates = [token for token in seen if token in task.class_of("value")]
        cells = [(token, asked) if reverse else (asked, token) for token in candidates]
        allowed = [bool(askable[k - first_key][v - first_value]) for k, v in cells]
        left = [token for token, ok in zip(candidates, allowed, strict=True) if ok]
        scores.append(left.count(answer) / len(left))
    found = task.floors(key, 300, split)
    assert found["split"] == pytest.approx(mean(scores), rel=1e-5)
    assert (found["split"] > 0.6) == (split == "test")


def test_parts_give_what_all_documents_give(monkeypatch):
    """Catches arrays that grow with all documents at once (4,096 with 512 queries took gigabytes),
    a part that is left out or counted twice, and one whose split is that of other documents."""
    sizes = {"key_vocabulary": 24, "value_vocabulary": 24}
    task = AssociativeRecall(pairs=4, queries=3, held_out=0.2, **sizes)
    key, entries = jax.random.key(1), 3 * task.max_length
    whole = task.floors(key, 37, "test")
    seen, chances = [], floors_module._chances
    monkeypatch.setattr(floors_module, "PART", 8 * entries + 1)
    monkeypatch.setattr(
        floors_module, "_chances", lambda part, *rest: seen.append(part) or chances(part, *rest)
    )
    assert task.floors(key, 37, "test") == pytest.approx(whole, rel=1e-6)
    assert [len(part.tokens) for part in seen] == [8, 8, 8, 8, 5]
    fuzzy = FuzzyRecall(pairs=3, key_tokens=2, value_tokens=2, key_vocabulary=4, value_vocabulary=3)
    batch = fuzzy.sample(key, 37, "test")
    in_parts = copy_next(batch)
    monkeypatch.setattr(floors_module, "PART", 2**24)
    assert in_parts == pytest.approx(copy_next(batch), rel=1e-6)


def test_the_floors_of_the_first_query():
    """Catches a floor of 1 where the pairs are counted by queries that do not count, and one that
    is that of all queries."""
    key = jax.random.key(1)
    several = MultiQueryRecall(vocabulary=128, lengths=(32,), pairs=(4,))
    of_all, of_first = (several.floors(key, 500, "test", first=first) for first in (False, True))
    assert of_first["offset"] < 0.6
    assert of_first["best"] < 0.7
    task = StateTracking(group="S3", length=8, every_prefix=True)
    of_all, of_first = (task.floors(key, 2000, "test", first=first) for first in (False, True))
    states = np.asarray(task.sample(key, 2000, "test").targets)[:, 0]
    train = np.asarray(task.sample(jax.random.fold_in(key, 1), 2000, "train").targets)[:, 0]
    expected = (states == np.bincount(train).argmax()).mean()
    assert of_first["majority"] == pytest.approx(expected)
    assert of_all["majority"] != of_first["majority"]


def test_the_last_token_of_a_fuzzy_key_as_counted():
    """Catches an occurrence in the question, and the first one taken."""
    task = FuzzyRecall(pairs=3, key_tokens=2, value_tokens=2, key_vocabulary=4, value_vocabulary=3)
    batch = task.sample(jax.random.key(1), 200, "test")
    scores, tokens = [], np.asarray(batch.tokens)
    for seen, asked, answer, (i, _) in documents_of(batch):
        place = max((p for p, token in enumerate(seen) if token == asked), default=None)
        scores.append(place is not None and tokens[i, place + 1] == answer)
    assert copy_next(batch) == pytest.approx(mean(scores), rel=1e-5)
    assert task.floors(jax.random.key(1), 200)["copy_next"] == pytest.approx(mean(scores), rel=1e-5)


def test_what_follows_any_trigger_as_counted():
    """Catches the successors of one trigger, and the query counted as one."""
    task = InContextBigrams(length=20, triggers=3, vocabulary=6)
    batch = task.sample(jax.random.key(1), 200, "test")
    scores = []
    for seen, _, answer, _ in documents_of(batch):
        after = collections.Counter(
            b for a, b in itertools.pairwise(seen) if a in task.classes["t"]
        )
        most = [token for token, count in after.items() if count == max(after.values())]
        scores.append(most.count(answer) / len(most))
    found = task.floors(jax.random.key(1), 200)
    assert found["class_successor"] == pytest.approx(mean(scores), rel=1e-5)
    assert found["best"] == max(value for name, value in found.items() if name != "best")


def test_recall_like_floors_do_not_count():
    """Catches a perfect model that is held to a floor of 100 %, since pairs stand side by side."""
    floors = {"copy_last": 0.3, "copy_next": 1.0}
    assert with_best(floors)["best"] == 1.0
    assert with_best(floors, ("copy_next",))["best"] == 0.3
    assert kind_of("copy_next")[0] != RECALL_LIKE
    assert kind_of("copy_next", ("copy_next",))[0] == RECALL_LIKE


@pytest.mark.parametrize("name", CASES)
def test_every_floor_has_its_kind(name):
    """Catches a heuristic that no page explains."""
    task = CASES[name].task
    floors = set(task.floors(jax.random.key(0), 64, "test")) - {"best"}
    assert floors <= set(KINDS)
    assert set(task.recall_like) <= set(KINDS)
