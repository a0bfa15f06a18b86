"""The study's 30 findings, on tables that should pass and should abstain.

Tables that each should fail on are in the files beside this one.
"""

from mecheval_jax.study.cells import StudyCells
from mecheval_jax.study.findings.every import FINDINGS
from mecheval_jax.study.published.tables import WIDTHS
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
    third_version = {27, 29, 30}  # of which there are no figures of accuracies
    beyond, cells = set(), _Asked(world())
    for finding in FINDINGS:
        cells.without_number, cells.without_runs = [], []
        claims = list(finding.claims(cells))
        named = [c for c in claims if any(name in c.text for name in cells.without_number)]
        if named or cells.without_runs:
            beyond.add(finding.number)
    assert beyond == third_version


class _Asked(StudyCells):
    """Cells that keep what was asked for of which the study shows nothing.

    Attributes:
        without_number: Names of accuracies.
        without_runs: Mixer, task, layers and option of runs whose mechanism was asked for.
    """

    without_number: list[str]
    without_runs: list[tuple]

    def accuracy(self, *which, **where):
        found = super().accuracy(*which, **where)
        if found.published is None:
            self.without_number.append(found.name)
        return found

    def learned(self, mixer, task="AR", *, layers=2, option="", split="test", width=None):
        asked = {"layers": layers, "option": option, "split": split}
        if all(self.published(mixer, width, task, **asked) is None for width in WIDTHS):
            self.without_runs.append((mixer, task, layers, option))
        return super().learned(mixer, task, width=width, **asked)
