"""Accuracy: answers counted by document, and their means by hand."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from mecheval_jax.evaluation.accuracy import answer_all, counts_of, summarize
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
