"""How close counts as equal, and which architectures are meant."""

from mecheval_jax.evaluation.verdict.rule import SUBSTANTIAL
from mecheval_jax.study.findings import margins
from mecheval_jax.study.published.tables import DOCUMENTS, published


def test_margins_are_what_they_are_said_to_be():
    """Catches margins that are loosened until a finding is reproduced."""
    assert int(margins.ACCURACY * DOCUMENTS) == 6
    assert margins.ACCURACY < margins.FEW_POINTS < margins.LITTLE <= 0.1
    assert 2 * margins.LITTLE <= margins.FAR < 0.27  # the least that the study calls far
    assert margins.HALF == 0.5 < margins.MOST < 0.8  # the least that it calls most
    assert 0.95 <= margins.NEARLY_ALL < 0.99  # what it calls nearly all
    assert margins.ATTRIBUTION == SUBSTANTIAL  # of the verdict's rule


def test_architectures_are_those_of_the_study():
    """Catches one left out of what is said of all, and Mamba compared with itself."""
    two = published("accuracies").query("task == 'AR' and layers == 2")
    assert set(margins.MIXERS) == set(two["mixer"])
    assert margins.MIXERS[-1] == "mamba"  # the others are all but the last
    assert {*margins.INDUCTION, *margins.SSMS, "base_conv"} == set(margins.MIXERS)
    assert not set(margins.INDUCTION) & set(margins.SSMS)
