"""The study's 30 findings, on tables that should pass and should abstain.

Tables that each should fail on are in the files beside this one.
"""

from mecheval_jax.study.findings.every import FINDINGS
from tests.support.study_world import verdicts, world

NUMBERS = range(1, 31)


def test_all_are_there():
    """Catches a finding that is left out, or counted twice."""
    assert [finding.number for finding in FINDINGS] == list(NUMBERS)


def test_a_world_as_the_study_says():
    """Catches a finding that the study's own numbers contradict."""
    assert verdicts(world(), FINDINGS) == dict.fromkeys(NUMBERS, "reproduced")


def test_a_world_of_which_little_is_known():
    """Catches a judgement where intervals tell nothing; the world is the true one all the same."""
    little = world(documents=8, half_width=3.0)
    assert verdicts(little, FINDINGS) == dict.fromkeys(NUMBERS, "undecided")


def test_nothing_was_run():
    """Catches an error, or a verdict, without results."""
    assert verdicts(world().iloc[:0], FINDINGS) == dict.fromkeys(NUMBERS, "not run")
