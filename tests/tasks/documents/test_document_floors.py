"""Floors of one's own documents, against a count by loops and by hand."""

import collections
import dataclasses
import json
import time

import jax
import numpy as np
import pytest

from mecheval_jax.tasks import packed_floors
from mecheval_jax.tasks.documents import document_floors as floors
from mecheval_jax.tasks.documents.documents import Documents
from mecheval_jax.tasks.packed import Packed
from tests.support.packed_documents import questions, random_documents


def answered(documents, seed):
    """The same documents, some of whose answers stand two tokens or more after their query."""
    draw = np.random.default_rng(seed)
    query = documents.roles["query"]
    later = query + draw.integers(1, 4, query.shape)
    stands = (query >= 0) & (later < documents.lengths[:, None]) & (draw.random(query.shape) < 0.8)
    roles = documents.roles | {"answer": np.where(stands, later, -1)}
    return dataclasses.replace(documents, roles=roles)


def earlier_answers(documents):
    """For every query that counts, the answers that stand before it or at it."""
    query, given = documents.roles["query"], documents.roles["answer"]
    for i, j in zip(*np.nonzero(documents.weights), strict=True):
        yield {
            int(answer)
            for answer, place in zip(documents.targets[i], given[i], strict=True)
            if 0 <= place <= query[i, j]
        }


# Catches an answer that is struck out before it was given, or once for each query that had it, a
# token of another document, and the commonest token of the whole document, its question included.
@pytest.mark.parametrize("divider", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_values_as_counted(seed, divider):
    documents = answered(random_documents(seed, 80, divider, queries=3), seed)
    answers = np.unique(documents.targets)[1:]
    sums, total = collections.Counter(), 0
    asks = zip(questions(documents), earlier_answers(documents), strict=True)
    for (_, seen, _, answer, _), given in asks:
        total += 1
        candidates = [token for token in seen if token in answers]
        left = [token for token in candidates if token not in given]
        if left:
            sums["elimination"] += left.count(answer) / len(left)
        counts = collections.Counter(candidates)
        most = [token for token, times in counts.items() if times == max(counts.values())]
        if answer in most:
            sums["frequent"] += 1 / len(most)
    found = floors.value_floors(documents, answers)
    assert found == pytest.approx({name: value / total for name, value in sums.items()})
    assert found["elimination"] != packed_floors.in_document(documents, answers)


# Catches a place that is chosen on judged documents, one behind the query, and queries of every
# rank taken together.
@pytest.mark.parametrize("seed", range(4))
def test_places_as_counted(seed):
    train = random_documents(seed, 60, divider=False)
    documents = random_documents(seed + 100, 80, divider=False)
    ranks = lambda of: [
        sum(0 <= place < row[j] for place in row)
        for row, weights in zip(of.roles["query"], of.weights, strict=True)
        for j in np.flatnonzero(weights)
    ]
    places = {"from_start": lambda end: 0, "from_query": lambda end: end}
    expected = {}
    for name, anchor in places.items():
        right = collections.defaultdict(collections.Counter)
        often = collections.Counter(ranks(train))
        for (_, seen, _, answer, end), rank in zip(questions(train), ranks(train), strict=True):
            distances = [p - anchor(end) for p, token in enumerate(seen) if token == answer]
            right[rank].update(distances)
            right["all"].update(distances)
        hits = []
        judged = zip(questions(documents), ranks(documents), strict=True)
        for (_, seen, _, answer, end), rank in judged:
            counts = right[rank if often[rank] >= packed_floors.FEWEST else "all"]
            place = anchor(end) + max(sorted(counts), key=lambda d: counts[d])
            hits.append(0 <= place < len(seen) and seen[place] == answer)
        expected[name] = np.mean(hits)
    assert floors.place_floors(train, documents) == pytest.approx(expected)


def written(folder, records):
    path = folder / "ids.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return Documents(str(path), tokenizer="ids", test=0.2)


def test_a_pair_that_is_always_asked_is_a_floor(tmp_path):
    """Catches documents whose answer always stands at one place, which no counted floor sees."""
    draw, records = np.random.default_rng(0), []
    for _ in range(200):
        keys, values = draw.permutation(20)[:6] + 100, draw.permutation(20)[:6] + 200
        tokens = np.stack([keys, values], axis=1).ravel().tolist()
        query = {"query": 12, "answer": int(values[2]), "key": 4, "value": 5}
        records.append({"tokens": [*tokens, int(keys[2])], "queries": [query]})
    found = written(tmp_path, records).floors(jax.random.key(0))
    assert found["from_start"] == found["from_query"] == found["best"] == 1
    assert found["in_document"] == pytest.approx(1 / 6)
    assert "elimination" not in found


def test_answers_that_were_given_are_left_out(tmp_path):
    """Catches a second question that can be answered by what is left, and a first question that is
    held to the floor of the second."""
    draw, records = np.random.default_rng(0), []
    for _ in range(300):
        keys, values = draw.permutation(20)[:2] + 100, draw.permutation(20)[:2] + 200
        tokens = np.stack([keys, values], axis=1).ravel().tolist()
        queries = []
        for pair in draw.permutation(2).tolist():
            at = {"key": 2 * pair, "value": 2 * pair + 1}
            queries.append({"query": len(tokens), "answer": int(values[pair]), **at})
            tokens += [int(keys[pair]), int(values[pair])]
        records.append({"tokens": tokens, "queries": queries})
    task = written(tmp_path, records)
    of_all, of_first = (task.floors(jax.random.key(0), first=first) for first in (False, True))
    assert of_all["elimination"] == pytest.approx(3 / 4)
    assert of_all["best"] >= of_all["elimination"]
    assert of_first["elimination"] == pytest.approx(1 / 2)
    assert of_first["best"] < 0.7


def test_many_questions_about_long_documents():
    """Catches minutes for floors: work that is the product of the questions and the tokens."""
    draw, documents, length, queries = np.random.default_rng(0), 2, 30_000, 400
    roles = {"query": length - 1 - np.tile(np.arange(queries), (documents, 1))}
    packed = Packed(
        tokens=draw.integers(3, 5000, documents * length),
        starts=length * np.arange(documents + 1),
        query_positions=roles["query"],
        targets=draw.integers(3, 5000, (documents, queries)),
        weights=np.ones((documents, queries)),
        roles=roles,
    )
    begun = time.process_time()
    floors.place_floors(packed, packed)
    assert time.process_time() - begun < 10
