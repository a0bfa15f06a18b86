"""The figure of each analysis, from its tables alone."""

import pandas as pd

from mecheval_jax.evaluation.analyses import ANALYSES
from mecheval_jax.reporting.figures.analyses import FIGURES


def test_every_analysis_has_one():
    """Catches an analysis that fails once its table is written."""
    assert set(FIGURES) == set(ANALYSES)


def gradients(corruption, direction, value):
    place = {"corruption": corruption, "direction": direction}
    rows = [
        {"site": "block_0/block_output", "role": "value", "method": method, "value": value}
        for method in ("exact", "eap")
    ]
    agreement = {"method": "eap", "value": value / 2, "low": None, "high": None}
    return [place | row for row in rows], [place | agreement]


def test_gradients_are_those_of_one_corruption_and_direction():
    """Catches points of two corruptions in one panel, and a table taken for the other."""
    some = gradients("value", "restore", 0.5), gradients("key", "damage", 0.75)
    tables = {
        "gradients": pd.DataFrame([row for rows, _ in some for row in rows]),
        "gradients_agreement": pd.DataFrame([row for _, rows in some for row in rows]),
    }
    figure = FIGURES["gradients"](tables)
    assert figure.get_suptitle() == "value corrupted, restore"
    points = [line.get_xydata().tolist() for line in figure.axes[0].lines[1:]]
    assert points == [[[0.5, 0.5]]]
    assert "rank correlation 0.25" in figure.axes[0].get_title(loc="left")


def test_circuits_are_of_the_corruption_that_was_measured():
    """Catches a figure of key corruption where the task has another, which has no curve."""
    rows = [
        {"corruption": "value", "circuit": "eap", "edges": edges, "value": edges / 4}
        | {"low": 0.0, "high": 1.0}
        for edges in (1, 2)
    ]
    axes = FIGURES["circuits"]({"circuits": pd.DataFrame(rows)}).axes[0]
    assert axes.get_title(loc="left") == "value corrupted"
    (line,) = (line for line in axes.lines if line.get_label() == "best edges by EAP")
    assert list(line.get_ydata()) == [0.25, 0.5]


def test_the_lens_is_named_by_the_mixer():
    """Catches a line that says nothing of the model it is of."""
    rows = [
        {"mixer": "based", "layer": layer, "metric": name, "value": 0.5, "low": 0.4, "high": 0.6}
        for layer in (0, 1)
        for name in ("probability", "rank")
    ]
    figure = FIGURES["lens"]({"lens": pd.DataFrame(rows)})
    assert [line.get_label() for line in figure.axes[0].lines] == ["based"]


def test_probes_are_of_values():
    """Catches a figure of another target, by whose classes its title would be wrong."""
    rows = [
        {"site": "block_0/block_output", "role": "value", "metric": metric, "target": target}
        | {"classes": classes, "value": 0.5}
        for target, classes in (("key", 8), ("value", 16))
        for metric in ("accuracy", "control")
    ]
    figure = FIGURES["probes"]({"probes": pd.DataFrame(rows)})
    assert figure.get_suptitle() == "Linear probes of the value, 16 classes"
