"""Claims, and how several are one."""

import dataclasses

from mecheval_jax.study.claims import UNTRIED, Claim, all_of, any_of


def test_together_and_any():
    """Catches any taken for all, and many chances that are not paid for."""
    good = Claim("good", if_false=0.01, if_true=0.99, runs=1)
    bad = Claim("bad", if_false=0.99, if_true=0.01, runs=1)
    unknown = Claim("unknown")
    assert all_of("", [good, bad]).if_false == 0.99
    assert all_of("", [good, bad]).if_true == 0.02
    assert all_of("", [good, unknown]).runs == 0
    waiting = dataclasses.replace(good, if_false=1.0, if_true=1.0, note=UNTRIED)
    assert all_of("", [good, waiting]).note == UNTRIED
    assert all_of("", [good, bad, waiting]).note == ""
    assert any_of("", "", [good, bad, unknown]).if_false == 0.02
    assert any_of("", "", [good, bad]).if_true == 0.99
    assert any_of("", "", [bad, bad]).if_true == bad.if_true
    assert any_of("", "", [bad, unknown]).if_true == 1  # what was not run may hold
    assert any_of("", "", [unknown]).runs == 0
