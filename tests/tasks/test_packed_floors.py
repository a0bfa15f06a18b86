"""Floors of packed documents, against a count by loops."""

import collections
import itertools

import pytest

from mecheval_jax.tasks import packed_floors as floors
from tests.support.packed_documents import questions, random_documents


def commonest(counter):
    return min(counter, key=lambda token: (-counter[token], token)) if counter else None


def by_distance(train, documents, describe):
    """Accuracy of the distance that was right most often of what `describe` gives alike."""
    distances = range(-floors.FURTHEST, floors.FURTHEST + 1)

    def beside(seen, asked, distance):
        if asked not in seen:
            return None
        place = len(seen) - 1 - seen[::-1].index(asked) + distance
        return seen[place] if 0 <= place < len(seen) else None

    right, often = collections.defaultdict(collections.Counter), collections.Counter()
    for _, seen, asked, answer, _ in questions(train):
        if asked in seen:
            for cell in (describe(seen, asked), "all"):
                often[cell] += 1
                right[cell].update(d for d in distances if beside(seen, asked, d) == answer)
    hits, total = 0, 0
    for _, seen, asked, answer, _ in questions(documents):
        cell = describe(seen, asked) if asked in seen else "all"
        counts = right[cell if often[cell] >= floors.FEWEST else "all"]
        hits += beside(seen, asked, max(distances, key=lambda d: (counts[d], -d))) == answer
        total += 1
    return hits / total


def by_place(seen, asked):
    return len(seen), seen[::-1].index(asked)


def by_tokens(seen, asked):
    place = len(seen) - seen[::-1].index(asked)
    return asked, seen[place] if place < len(seen) else None


def counted(train, documents):
    """All floors by loops over documents and tokens."""
    answers, to_query = collections.Counter(), collections.defaultdict(collections.Counter)
    for _, _, asked, answer, _ in questions(train):
        answers[answer] += 1
        to_query[asked][answer] += 1
    successors = collections.defaultdict(collections.Counter)
    for i in range(len(train)):
        tokens = train.tokens[train.starts[i] : train.starts[i + 1]].tolist()
        stop = train.roles["divider"][i, 0] if "divider" in train.roles else -1
        stop = len(tokens) if stop < 0 else stop
        for first, second in itertools.pairwise(tokens[:stop]):
            if second in answers:
                successors[first][second] += 1
    hits, total = collections.Counter(), 0
    for _, seen, asked, answer, _ in questions(documents):
        total += 1
        if asked in seen:
            last = len(seen) - 1 - seen[::-1].index(asked)
            if last + 1 < len(seen):  # the query itself is not read
                hits["copy_next"] += seen[last + 1] == answer
            if last > 0:  # before the first token stands another document
                hits["copy_previous"] += seen[last - 1] == answer
        hits["copy_query"] += asked == answer
        candidates = [token for token in seen if token in answers]
        if candidates:
            hits["copy_last"] += candidates[-1] == answer
            hits["copy_first"] += candidates[0] == answer
            hits["in_document"] += candidates.count(answer) / len(candidates)
        hits["majority"] += commonest(answers) == answer
        hits["per_query_majority"] += commonest(to_query[asked] or answers) == answer
        hits["bigram"] += commonest(successors[asked]) == answer
    found = {name: count / total for name, count in hits.items()}
    found["offset"] = by_distance(train, documents, by_place)
    return found | {"offset_by_tokens": by_distance(train, documents, by_tokens)}


# Catches an occurrence of another document or after the query, a count over judged instead of
# train documents, a successor across a border, unused queries that count, a wrong tie-break.
@pytest.mark.parametrize("divider", [False, True, "in some"])
@pytest.mark.parametrize("seed", range(4))
def test_as_counted(seed, divider):
    train = random_documents(seed, 60, divider)
    documents = random_documents(seed + 100, 80, divider, vocabulary=9)
    expected = counted(train, documents)
    found = floors.packed_floors(train, documents)
    found["in_document"] = floors.in_document(documents, floors.answer_class(train))
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-12), name


# Catches a query token that no train document has: a table that is too short, or a guess.
def test_unseen_query_token():
    train = random_documents(0, 20, divider=False, vocabulary=4)
    documents = random_documents(1, 20, divider=False, vocabulary=30)
    unseen = floors.asked(documents) > train.tokens.max()
    assert unseen.any()
    guesses = floors.bigram(train, documents, floors.answer_class(train))
    assert (guesses[unseen] == floors.NONE).all()
    answers = floors.per_query_majority(train, documents)[unseen]
    assert (answers == floors.majority(train, documents)[unseen]).all()
