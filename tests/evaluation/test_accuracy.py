"""Accuracy: answers counted by document, and their means by hand."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.evaluation.accuracy import (
    COLUMNS,
    answer_all,
    counts_of,
    slice_accuracy,
    summarize,
)
from mecheval_jax.statistics.bootstrap import Bootstrap, accuracy_interval
from mecheval_jax.statistics.intervals import wilson
from mecheval_jax.tasks.scoring import AnswerScores
from tests.support import planted

DOCUMENTS = 16
EVALUATION = dataclasses.replace(planted.EVALUATION, documents=DOCUMENTS, confidence=0.9)


@pytest.fixture(scope="module")
def subject():
    model = planted.induction()
    return planted.subject_of(model, planted.documents(model[2], DOCUMENTS), EVALUATION)


def test_a_planted_model_answers(subject):
    """Catches answers of another query or document."""
    answers = answer_all(subject)
    assert isinstance(answers.correct, np.ndarray)
    assert answers.correct.shape == (DOCUMENTS, 1)
    assert answers.correct.all()
    np.testing.assert_allclose(answers.probability, np.exp(-answers.loss), rtol=1e-5)


def test_scores_are_means_over_the_queries_that_count(subject):
    """Catches unused places counted as wrong answers, and floors of another task."""
    draw = np.random.default_rng(0)
    correct = np.arange(DOCUMENTS)[:, None] < 12
    numbers = [draw.uniform(size=(DOCUMENTS, 1)).astype(np.float32) for _ in range(3)]
    answers = AnswerScores(*numbers, correct.astype(np.float32))
    weights = np.ones((DOCUMENTS, 1), np.float32)
    weights[:4] = 0  # four of the right answers
    batch = subject.batch.replace(weights=jnp.asarray(weights))
    asked = dataclasses.replace(subject, batch=batch)
    right, counted = counts_of(answers, asked.batch)
    assert (right.sum(), counted.sum()) == (8, 12)
    found = summarize(answers, asked)
    assert found["accuracy"] == pytest.approx(8 / 12)
    assert (found["accuracy_low"], found["accuracy_high"]) == pytest.approx(wilson(8, 12, 0.9))
    assert found["loss"] == pytest.approx(numbers[0][4:].mean(), rel=1e-5)
    assert found["likelihood"] == pytest.approx(numbers[1][4:].mean(), rel=1e-5)
    assert (found["asked"], found["documents"], found["split"]) == (12, DOCUMENTS, "test")
    assert found["floors"]["best"] == pytest.approx(planted.floor(), abs=0.05)


DRAW = np.random.default_rng(0)
PROPERTIES = {
    "pairs": DRAW.choice([2, 5], size=(40, 3)).astype(np.int32),
    "distance": DRAW.integers(-1, 70, size=(40, 3), dtype=np.int32),  # -1: absent
}
CORRECT = DRAW.integers(0, 2, size=(40, 3)).astype(np.float32)
WEIGHTS = DRAW.integers(0, 2, size=(40, 3)).astype(np.float32)
BINS = [(0, 0), (1, 1), (2, 3), (4, 7), (8, 15), (16, 31), (32, 63), (64, 127)]


BOOTSTRAP = Bootstrap([40], 500, 0)


# Catches queries without weight or without the property that count, bins that overlap or leave a
# number out, and an interval of another confidence.
@pytest.mark.parametrize("queries", [1, 3])
def test_slices_by_counting(queries):
    tables = {name: numbers[:, :queries] for name, numbers in PROPERTIES.items()}
    correct, weights = CORRECT[:, :queries], WEIGHTS[:, :queries]
    expected = []
    for name, slices in (("pairs", [(2, 2), (5, 5)]), ("distance", BINS)):
        for low_value, high_value in slices:
            of_document = np.zeros((2, len(correct)))
            for place in np.ndindex(weights.shape):
                if weights[place] and low_value <= tables[name][place] <= high_value:
                    of_document[:, place[0]] += (correct[place], 1)
            right, asked = of_document.sum(axis=1)
            if asked == 0:
                continue
            if queries == 1:
                interval = wilson(right, asked, 0.9)
            else:
                interval, _ = accuracy_interval(*of_document, 0.9, BOOTSTRAP)
            row = (name, low_value, high_value, right / asked, *interval, asked)
            expected.append(dict(zip(COLUMNS, row, strict=True)))
    found = slice_accuracy(tables, correct, weights, 0.9, BOOTSTRAP)
    assert [tuple(row) for row in found] == [COLUMNS] * len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours == pytest.approx(theirs)


# Catches slices of nothing: a division by zero queries.
def test_a_property_that_no_query_has():
    nowhere = {"distance": np.full((2, 1), -1, np.int32)}
    assert slice_accuracy(nowhere, np.ones((2, 1)), np.ones((2, 1)), 0.95, BOOTSTRAP) == []


# Catches queries of a document that count as independent: 40 documents whose three queries are
# right or wrong together are 40 trials, and their interval is not that of 120.
def test_queries_of_a_document_are_no_trials_of_their_own():
    correct = np.repeat(np.arange(40) < 20, 3).reshape(40, 3).astype(np.float32)
    pairs = {"pairs": np.full((40, 3), 4, np.int32)}
    (row,) = slice_accuracy(pairs, correct, np.ones((40, 3)), 0.9, BOOTSTRAP)
    low, high = wilson(20, 40, 0.9)
    assert row["queries"] == 120
    assert row["high"] - row["low"] == pytest.approx(high - low, rel=0.15)
