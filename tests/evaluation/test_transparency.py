"""The four numbers on how clear a mechanism is, on numbers whose answer is known."""

import pytest

from mecheval_jax.evaluation import transparency

HERE = {"kind": "stream", "site": "block_1/block_input", "direction": "restore", "single": True}


def row(role, value, **changes):
    return {**HERE, "role": role, "value": value, "low": value - 0.1, "high": value, **changes}


def test_the_best_single_vector_counts():
    """Catches sets of positions, damage, or several sites together taken for one vector."""
    rows = [
        row("value", 0.4),
        row("next_key", 0.6),
        row("pair", 1.0, single=False),
        row("pair", 0.9, single=False, direction="damage"),
        row("value", 0.95, site="block_1/mixer/k+v", kind="local"),
        row("value+2", 0.1),
    ]
    found = transparency.concentration(rows)
    assert found == (0.6, 0.5, 0.6, "block_1/block_input", "next_key")


def test_the_question_is_a_place():
    """Catches direct retrieval, whose answer stands at the question, called unclear."""
    rows = [row("value", 0.1), row("question", 0.97, single=False)]
    assert transparency.concentration(rows).role == "question"


def test_without_single_positions_there_is_no_concentration():
    assert transparency.concentration([]) is None
    nothing = row("value", 0.0) | {"value": None}
    assert transparency.concentration([nothing]) is None


def judged(verdict, **probabilities):
    return {"verdict": verdict, "probabilities": probabilities}


def test_runs_that_agree_and_runs_that_do_not():
    """Catches a verdict of the minority, and the probability of another verdict."""
    runs = [
        judged("induction", induction=1.0),
        judged("induction", induction=0.97),
        judged("mixed", induction=0.1, mixed=0.96),
    ]
    found = transparency.agreement(runs)
    assert found.verdict == "induction"
    assert found.share == pytest.approx(2 / 3)
    assert found.probability == pytest.approx((1.0 + 0.97 + 0.1) / 3)
    assert transparency.agreement([]) is None


def test_of_two_verdicts_the_more_probable_one():
    """Catches a verdict that depends on the order of the runs."""
    runs = [judged("mixed", mixed=0.95), judged("induction", induction=1.0)]
    for some in (runs, runs[::-1]):
        assert transparency.agreement(some).verdict == "induction"
