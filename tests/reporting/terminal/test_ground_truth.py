"""The ladder in the terminal: every rung has its numbers."""

import pandas as pd

from mecheval_jax.reporting.terminal.ground_truth import show_ladder
from tests.reporting.figures.test_ground_truth_figures import CONFUSION, EDGES


def test_every_rung_has_its_numbers(capsys):
    """Catches a mean in place of the least value, and verdicts that are not shown."""
    angles = pd.DataFrame([{"metric": "greatest_angle", "value": value} for value in (10.0, 20.0)])
    show_ladder({"edges": EDGES.assign(edges=12), "subspaces": angles, "confusion": CONFUSION})
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["induction", "EAP", "12", "0.60", "0.50", "0.20"] in lines
    assert ["induction", "random", "order", "12", "0.50", "0.40", "-"] in lines
    assert ["greatest", "angle", "15.00", "10.00", "20.00"] in lines
    assert ["mamba", "induction", "2", "1", "0.67"] in [line[:5] for line in lines]


def test_nothing_is_shown_of_rungs_that_were_not_climbed(capsys):
    show_ladder({})
    assert capsys.readouterr().out == ""
