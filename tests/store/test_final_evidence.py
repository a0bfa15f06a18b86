"""Verdicts that count are on the answers of the finished run."""

import pytest

from mecheval_jax.store.final_evidence import evidence_words, with_final_verdict
from tests.support import small

SUMMARY = {"step": 20, "accuracy": 0.9, "verdict": "induction", "layer": 1, "evidence": {}}


@pytest.mark.parametrize(
    ("measured", "counts"),
    [
        ({}, True),
        ({"evidence_step": 20, "evidence_split": "test"}, True),
        ({"evidence_step": 10, "evidence_split": "test"}, False),
        ({"evidence_step": 20, "evidence_split": "dev"}, False),
    ],
)
def test_a_verdict_on_other_answers_does_not_count(measured, counts):
    """Catches a verdict of an earlier step or other documents, and answers lost with it."""
    summary = SUMMARY | measured
    found = with_final_verdict(summary, small.experiment())
    assert found == (summary if counts else {"step": 20, "accuracy": 0.9} | measured)


def test_what_it_is_of():
    """Catches a step that is said to be a split."""
    words = evidence_words({"evidence_step": 10, "evidence_split": "dev"})
    assert words == "it is of step 10 on dev documents, and not of the finished run"
