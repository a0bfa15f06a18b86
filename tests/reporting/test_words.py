"""What is said of runs, evidence and machines."""

from mecheval_jax.reporting.words import distractor, machine_words
from tests.support.reported_runs import DISTRACTOR


def test_a_control_without_a_number_says_why():
    """Catches a dash in the midst of a sentence."""
    for absent in (None, float("nan")):
        row = dict(DISTRACTOR, value=absent, low=absent, high=absent)
        text = distractor({"distractor": row})
        assert text == "distractor: too little is taken by the pair's corruption to compare with"


def test_a_machine_of_which_little_is_known():
    """Catches a file of an older version, without rates, that ends a report."""
    assert machine_words({}) == "a machine that is not named"
    assert machine_words({"device": "card", "matrix_gflops": None}) == "card"
