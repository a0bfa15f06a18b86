"""The four numbers on how clear a mechanism is, on numbers whose answer is known."""

import numpy as np
import pytest

from mecheval_jax.evaluation import transparency
from mecheval_jax.evaluation.config import EvaluationConfig
from mecheval_jax.evaluation.patching.circuits import Faithfulness

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


def faithful(shares):
    """Circuits of 0, 1, ... edges that give these shares of a gap of 0.8."""
    documents = np.ones(30)
    return Faithfulness(
        method="eap_ig",
        measure="probability",
        evaluation=EvaluationConfig(corruptions=("key",), resamples=20),
        runs=np.stack([0.9 * documents, 0.1 * documents]),
        sizes=tuple(range(len(shares))),
        circuit=np.stack([(0.1 + 0.8 * share) * documents for share in shares])[None],
        random=np.zeros((1, 1, len(shares), 30)),
    )


@pytest.mark.parametrize(
    ("shares", "edges"),
    [
        ([0, 0.2, 0.95, 1.0], 2),
        ([0, 0.95, 0.5, 0.92, 1.0], 3),  # one that a further edge breaks has not sufficed
        ([0, 0.1, 0.2, 0.3], 3),  # none but the whole
        ([0.95, 0.95, 1.0], 0),
    ],
)
def test_the_smallest_faithful_circuit(shares, edges):
    """Catches a size that suffices by chance, and an index in place of a size."""
    found = transparency.smallest_circuit(faithful(shares), "key")
    assert (found.edges, found.of) == (edges, len(shares) - 1)
    assert found.faithfulness == pytest.approx(shares[edges])


def test_without_a_gap_there_is_no_circuit():
    found = faithful([0, 1.0])
    found.runs[1] = found.runs[0]
    assert transparency.smallest_circuit(found, "key") is None
