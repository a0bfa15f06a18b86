"""Values of files have the form that was asked for."""

import pytest

from mecheval_jax.forms import COUNT, NUMBER, mismatch

FORM = {
    "step": COUNT,
    "score?": NUMBER,
    "state?": {"running", "done"},
    "names?": [str],
    "floors?": {...: float},
    "shares?": {"best": float, "worst?": int, ...: float},
    "rows?": [{"site": str, "on?": bool}],
    "size?": int,
    "span?": [float, float],
    "found?": (None, {"steps": [int]}),
}


@pytest.mark.parametrize(
    "value",
    [
        {"step": 0},
        {"step": 2**31 - 1, "score": None, "state": "done", "more": object()},
        {"step": 1, "score": float("nan")},
        {"step": 1, "score": 1, "names": [], "floors": {"best": 0.5}, "rows": [{"site": "a"}]},
        {"step": 1, "span": [0.1, 1]},
        {"step": 1, "floors": {}, "shares": {"best": 0.5, "worst": 1, "first?": 0.5}},
    ],
)
def test_values_of_the_form(value):
    """Catches a form that refuses what was written, or what a later version adds."""
    assert mismatch(value, FORM) is None


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([], "it is a list, and not an object"),
        ({}, "it lacks 'step'"),
        ({"step": 1, "span": [0.1]}, "span has 1 values, and not 2"),
        ({"step": 1, "span": [0.1, "b"]}, "span[1] is 'b', and not a number"),
        ({"step": True}, "step is True, and not a whole number from 0 to 2147483647"),
        ({"step": 10**5000}, "step is a number of more than 4983 digits, and not a whole number"),
        ({"step": 1.0}, "step is 1.0, and not"),
        ({"step": 1, "score": 10**400}, "score is a number of more than 398 digits, and not a"),
        ({"step": 1, "score": "x" * 100}, "score is 'xxx"),
        ({"step": 1, "state": "dead"}, "state is 'dead', and not one of done, running"),
        ({"step": 1, "state": []}, "state is a list, and not one of"),
        ({"step": 1, "names": [3]}, "names[0] is 3, and not a text"),
        ({"step": 1, "names": "abc"}, "names is 'abc', and not a list"),
        ({"step": 1, "floors": {"best": "x"}}, "floors.best is 'x', and not a number"),
        ({"step": 1, "shares": {"first": 0.5}}, "shares lacks 'best'"),
        ({"step": 1, "shares": {"best": 0.5, "first": None}}, "shares.first is None, and not a"),
        (
            {"step": 1, "shares": {"best": 0.5, "worst": 0.5}},
            "shares.worst is 0.5, and not a whole",
        ),
        ({"step": 1, "rows": [{"site": "a"}, {}]}, "rows[1] lacks 'site'"),
        ({"step": 1, "rows": [{"site": "a", "on": 1}]}, "rows[0].on is 1, and not true or false"),
        ({"step": 1, "found": {"steps": [1, None]}}, "found.steps[1] is None, and not a whole"),
        ({"step": 1, "found": {}}, "found lacks 'steps'"),
        ({"step": 1, "found": 3}, "found is 3, and not null"),
        ({"step": 1, "size": 2**63}, "size is 9223372036854775808, and not a whole number"),
    ],
)
def test_values_of_another_form(value, words):
    """Catches a value that is let through, and a message that does not say where it is."""
    assert words in mismatch(value, FORM)
    assert len(mismatch(value, FORM)) < 160
