"""The study's 30 findings, on tables that should pass and should abstain.

Tables that each should fail on are in the files beside this one.
"""

from mecheval_jax.study.cells import StudyCells
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


def test_claims_are_of_what_the_study_shows():
    """Catches a claim on runs that the study does not have, which it cannot have made."""
    third_version = {27, 29}  # which has no figures of these runs; 30 is of any two architectures
    beyond, cells = {}, _Asked(world())
    for finding in FINDINGS:
        cells.without_number = []
        claims = list(finding.claims(cells))
        beyond[finding.number] = [
            claim.text
            for claim in claims
            if any(name in claim.text for name in cells.without_number)
        ]
    assert {number for number, claims in beyond.items() if claims} == third_version


class _Asked(StudyCells):
    """Cells that keep the names of accuracies that were asked for and have no published number."""

    without_number: list[str]

    def accuracy(self, *which, **where):
        found = super().accuracy(*which, **where)
        if found.published is None:
            self.without_number.append(found.name)
        return found
