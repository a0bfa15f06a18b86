"""Grades of blind verdicts, and the table in which they are counted."""

import pytest

from mecheval_jax.ground_truth.collection import Trained
from mecheval_jax.ground_truth.judging import EVALUATION, confusion_rows, grade, judge_blind
from mecheval_jax.statistics.intervals import wilson
from tests.support import planted


def row(mixer, trained_to, verdict):
    named = {"mixer": mixer, "trained_to": trained_to, "verdict": verdict}
    return named | {"grade": grade(trained_to, verdict)}


def test_grades_are_counted():
    """Catches a model that has not learned counted as wrong, and an abstention as right."""
    rows = [
        row("mamba", "induction", "induction"),
        row("mamba", "induction", "undecided"),
        row("mamba", "induction", "not_learned"),
        row("attention", "induction", "mixed"),
    ]
    mamba, attention, everything = confusion_rows(rows)
    assert (mamba["induction"], mamba["undecided"], mamba["not_learned"]) == (1, 1, 1)
    assert (mamba["learned"], mamba["right"]) == (2, 0.5)
    assert (mamba["low"], mamba["high"]) == pytest.approx(wilson(1, 2))
    assert (attention["mixed"], attention["right"]) == (1, 0.0)
    assert (everything["mixer"], everything["learned"]) == ("all", 3)
    assert everything["right"] == pytest.approx(1 / 3)


def test_without_models_that_have_learned_there_is_no_share():
    (found,) = confusion_rows([row("mamba", "induction", "not_learned")])
    assert found["right"] is None
    assert (found["low"], found["high"]) == (0.0, 1.0)


def test_a_planted_model_is_judged_blind():
    """Catches a verdict that is told what was trained, and a row under another name."""
    config, params, task = planted.induction(0)
    model = Trained("convolutional_binding", 7, config, params, task)
    found = judge_blind(model, planted.EVALUATION)
    assert found["verdict"] == "induction"
    assert (found["grade"], found["trained_to"], found["seed"]) == (
        "wrong",
        "convolutional_binding",
        7,
    )
    assert found["accuracy"] == 1.0
    assert EVALUATION.documents >= 100
