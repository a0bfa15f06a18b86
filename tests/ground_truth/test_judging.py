"""Grades of blind verdicts, and the table in which they are counted."""

import numpy as np
import pytest

from mecheval_jax.ground_truth.collection import Trained
from mecheval_jax.ground_truth.judging import confusion_rows, grade, judge_blind
from mecheval_jax.statistics.intervals import wilson
from tests.support import planted


def row(mixer, trained_to, verdict, kept=1.0):
    named = {"mixer": mixer, "trained_to": trained_to, "verdict": verdict}
    return named | {"grade": grade(trained_to, verdict, kept)}


def test_grades_are_counted():
    """Catches a model of unknown mechanism counted as wrong, and an abstention as right."""
    rows = [
        row("mamba", "induction", "induction"),
        row("mamba", "induction", "undecided"),
        row("mamba", "induction", "not_learned"),
        row("mamba", "induction", "mixed", kept=0.89),
        row("attention", "induction", "mixed"),
    ]
    mamba, attention, everything = confusion_rows(rows)
    assert (mamba["induction"], mamba["undecided"], mamba["mixed"]) == (1, 1, 0)
    assert (mamba["models"], mamba["learned"], mamba["reached"]) == (4, 3, 2)
    assert mamba["right"] == 0.5
    assert (mamba["low"], mamba["high"]) == pytest.approx(wilson(1, 2))
    assert (attention["mixed"], attention["right"]) == (1, 0.0)
    assert (everything["mixer"], everything["reached"]) == ("all", 3)
    assert everything["right"] == pytest.approx(1 / 3)


def test_nine_of_ten_are_enough():
    """Catches a threshold that a share of float32 misses by its rounding."""
    assert grade("induction", "induction", float(np.float32(0.9))) == "right"
    assert grade("induction", "induction", 0.8999) == "not reached"


def test_without_models_that_have_learned_there_is_no_share():
    (found,) = confusion_rows([row("mamba", "induction", "not_learned")])
    assert found["right"] is None
    assert (found["low"], found["high"]) == (0.0, 1.0)


def test_a_planted_model_is_judged_blind():
    """Catches a verdict that is told what was trained, and rules that are not looked at."""
    config, params, task = planted.induction(0)
    named = {}
    for mechanism in ("induction", "direct_retrieval"):
        model = Trained(mechanism, 7, config, params, task)
        named[mechanism] = found = judge_blind(model, planted.EVALUATION)
        assert (found["verdict"], found["trained_to"], found["seed"]) == ("induction", mechanism, 7)
        assert found["accuracy"] == 1.0
    assert (named["induction"]["grade"], named["induction"]["rules_kept"]) == ("right", 1.0)
    assert named["direct_retrieval"]["grade"] == "not reached"
    assert named["direct_retrieval"]["rules_kept"] < 0.2
