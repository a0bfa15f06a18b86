"""Readings: single attributions in the words of the rule, and which of them are shown."""

import math

import pytest

from mecheval_jax.evaluation.verdict.readings import at, bound, look_up_site, reading
from mecheval_jax.site_path import SitePath

IN = SitePath(1, "block_input")


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (0.51, 0.9, "restores"),
        (0.5, 0.9, "substantial"),
        (0.21, 0.4, "substantial"),
        (0.2, 0.4, "unclear"),
        (-0.1, 0.2, "unclear"),
        (-0.1, 0.19, "negligible"),
        (-0.25, 0.1, "unclear"),
        (-1.0, -0.9, "lowers"),
        (None, 0.1, "cannot be told"),
        (0.1, None, "cannot be told"),
    ],
)
def test_an_interval_in_the_words_of_the_rule(low, high, word):
    """Catches the wrong end of an interval, and a threshold that counts as passed."""
    assert reading(low, high) == word


@pytest.mark.parametrize(
    ("direction", "word"), [("restore", "restores"), ("damage", "damages"), ("withhold", "needed")]
)
def test_what_is_withheld_restores_nothing(direction, word):
    """Catches a layer that loses the answer without the pair, and is said to restore it."""
    assert reading(1.7, 2.0, direction) == word
    assert reading(0.3, 0.4, direction) == "substantial"


def test_the_site_that_tells_mechanisms_apart():
    """Catches an input that no layer has written, an output, and a later layer's input."""
    sites = [f"block_{layer}/{name}" for layer in (0, 2, 1) for name in ("block_input", "mixer_q")]
    assert look_up_site(["embedding", *sites]) == IN
    assert look_up_site(["block_0/block_input", "block_1/block_output"]) is None


def rows_of(value, next_key):
    return [
        {"site": str(IN), "role": role, "value": number, "low": number, "high": number}
        for role, number in (("value", value), ("next_key", next_key))
    ]


@pytest.mark.parametrize(
    ("value", "next_key", "role"),
    [
        (0.9, 0.3, "value"),
        (0.3, 0.9, "next_key"),
        (0.1, 0.19, "value"),
        (None, 0.9, "next_key"),
        (math.nan, 0.9, "next_key"),
        (0.1, None, "value"),
    ],
)
def test_a_pair_is_bound_at_the_value_or_one_token_later(value, next_key, role):
    """Catches a next key that is shown though it restores nothing, or less."""
    assert bound(rows_of(value, next_key), IN)["role"] == role


def test_a_place_that_was_not_measured_is_an_empty_row():
    """Catches a lookup that fails where a grid lacks a site."""
    nothing = {"value": None, "low": None, "high": None}
    assert at([], IN, "key") == {"site": str(IN), "role": "key"} | nothing
    assert at(rows_of(1.0, 0.0), None, "value") == {"site": None, "role": "value"} | nothing
