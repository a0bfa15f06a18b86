"""Rows of a choice in words."""

import pytest

from mecheval_jax.selection import words
from tests.support import choice_tables

ROW = choice_tables.LEARNED | {"mixer": "based", "width": 64}


@pytest.mark.parametrize(
    ("given", "text"),
    [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (list("abc"), "a, b and c")],
)
def test_lists(given, text):
    assert words.listed(given) == text


def test_costs_that_are_not_known_are_left_out():
    """Catches a dash or a None in the middle of a sentence."""
    assert words.cost_words(ROW) == (
        "reads a document in 2 ms [1.9 ms, 2.1 ms], trains on 10,000 [9,091, 11,111] tokens a "
        "second, writes a token in 100 µs [90 µs, 110 µs] and keeps 4,096 bytes of state."
    )
    without_ends = {f"{time}_{end}": None for time in words.TIMES for end in ("low", "high")}
    assert "in 2 ms, trains on 10,000 tokens a second, writes" in (
        words.cost_words(ROW | without_ends)
    )
    unknown = dict.fromkeys(choice_tables.choice.COST)
    assert words.cost_words(ROW | unknown) == "has costs that were not measured."


def test_rough_times_are_told_as_such():
    """Catches three digits of a time that was measured between 7 and 62 µs."""
    times = {"prefill_seconds": 8.82e-6, "prefill_seconds_low": 7.0e-6}
    text = words.cost_words(ROW | times | {"prefill_seconds_high": 61.9e-6})
    assert "reads a document in 8.8 µs [7 µs, 62 µs]" in text
    assert text.endswith(
        "rough: the longest call took 8.8 times as long as the shortest, as on a busy machine."
    )
    assert "rough" not in words.cost_words(ROW | times | {"prefill_seconds_high": 13e-6})
    assert "rough" not in words.cost_words(ROW | times | {"prefill_seconds_low": 0.0})


@pytest.mark.parametrize(
    ("changes", "overlap"),
    [
        ({"prefill_seconds_low": 2.05e-3, "prefill_seconds_high": 3e-3}, True),
        ({"prefill_seconds_low": 2.2e-3, "prefill_seconds_high": 3e-3}, False),
        ({"prefill_seconds_low": 1e-3, "prefill_seconds_high": 1.8e-3}, False),
        ({"prefill_seconds_low": None, "prefill_seconds_high": None}, False),
    ],
)
def test_times_that_overlap(changes, overlap):
    """Catches two times told apart that are not, either way round."""
    assert words.times_overlap(ROW, ROW | changes, "prefill_seconds") == overlap
    assert words.times_overlap(ROW | changes, ROW, "prefill_seconds") == overlap
    assert not words.times_overlap(ROW, ROW, "state_bytes")


def test_mechanisms():
    """Catches a number said of another quantity than it is of."""
    text = words.mechanism_words(ROW | {"agreement": 2 / 3})
    assert "(induction); so are judged 67% of the 3 runs that have learned" in text
    assert "with a mean probability of 0.99." in text
    assert (
        "One vector (block_1/block_input at value) brings back 95% of the answer [90%, 98%]."
        in (text)
    )
    assert "5 of 15 edges of its graph give 93% of it." in text
    alone = words.mechanism_words(
        ROW | {"learned": 1, "concentration": None, "circuit_edges": None}
    )
    assert alone.endswith("(induction), with a probability of 0.99.")


def test_runs_without_a_verdict_do_not_count():
    """Catches 100 % of three runs of which one has a verdict, and a run that is called all."""
    one = words.mechanism_words(ROW | {"judged": 1})
    assert "so are judged 100% of the runs that were judged (1 of the 3 that have learned)" in one


def test_the_named_run_may_be_judged_otherwise():
    """Catches the vector and the circuit of one run told as those of what most runs do."""
    text = words.mechanism_words(ROW | {"agreement": 2 / 3, "member_verdict": "direct_retrieval"})
    said = "The run that is named is one of the others: it fetches the answer from the question"
    assert text.index("so are judged 67%") < text.index(said) < text.index("One vector")
    assert "one of the others" not in words.mechanism_words(ROW)
    assert "one of the others" not in words.mechanism_words(ROW | {"member_verdict": None})


def test_nothing_has_no_sign():
    """Catches -0% of the answer."""
    ends = {"concentration_low": -0.0004, "concentration_high": 0.02}
    text = words.mechanism_words(ROW | {"concentration": -0.001} | ends)
    assert "brings back 0% of the answer [0%, 2%]." in text


def test_a_member_without_answers():
    """Catches a traceback for a model whose training diverged."""
    assert words.percent(ROW | {"accuracy": None}) == "no number"
