"""Shares of many models in lines."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from mecheval_jax.evaluation.verdict.rule import CLASSES
from mecheval_jax.reporting.figures.dot_figures import dots_in_lines
from mecheval_jax.reporting.figures.sweep_figures import verdict_colour

ROWS = [
    ("mamba", "pair", "induction", 0.2, 0.1, 0.3),
    ("mamba", "pair", "not_learned", 0.9, 0.8, 1.0),
    ("based", "pair", "induction", 0.5, 0.45, 0.6),
    ("based", "change", "induction", -0.1, -0.2, 0.0),
]


def table_of(rows):
    return pd.DataFrame(rows, columns=["name", "panel", "kind", "value", "low", "high"])


def marks(axes):
    """(value, low, high, place, colour) of every mark."""
    found = []
    for mark in axes.containers:
        (line, _, (bars,)) = mark
        for (low, place), (high, _) in bars.get_segments():
            found.append((line.get_xdata()[0], low, high, place, to_hex(line.get_color())))
    return found


def test_marks_stand_in_their_lines():
    """Catches a share under another model's name, an interval of another, and marks on marks."""
    pair, change = dots_in_lines(table_of(ROWS)).axes
    first, second, third = marks(pair)
    assert first[:3] == pytest.approx((0.2, 0.1, 0.3))
    assert second[:3] == pytest.approx((0.9, 0.8, 1.0))
    assert -0.5 < first[3] < second[3] < 0.5
    assert third[:4] == pytest.approx((0.5, 0.45, 0.6, 1))
    (only,) = marks(change)
    assert only[:4] == pytest.approx((-0.1, -0.2, 0.0, 1))
    assert [text.get_text() for text in pair.get_yticklabels()] == ["mamba", "based"]
    assert [axes.get_title(loc="left") for axes in (pair, change)] == ["pair", "change"]


def test_verdicts_have_their_colours():
    """Catches a class in another colour than in the figures of sweeps, and a legend without it."""
    figure = dots_in_lines(table_of(ROWS))
    colours = [colour for *_, colour in marks(figure.axes[0])]
    expected = [verdict_colour(name) for name in ("induction", "not_learned", "induction")]
    assert colours == [to_hex(colour) for colour in expected]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["induction", "not learned"]


def test_other_kinds_take_colours_that_no_verdict_has():
    """Catches a floor in the colour of a verdict, and figures with more kinds than colours."""
    kinds = ("floor", *CLASSES[:3], "guess")
    rows = [("a", "p", kind, 0.5, 0.4, 0.6) for kind in kinds]
    colours = [colour for *_, colour in marks(dots_in_lines(table_of(rows)).axes[0])]
    assert len(set(colours)) == len(kinds)
    many = [(f"{index}", "p", f"k{index}", 0.5, 0.4, 0.6) for index in range(9)]
    assert len(marks(dots_in_lines(table_of([*rows, *many])).axes[0])) == 14


def test_a_skewed_interval_and_a_value_without_one():
    """Catches an error bar of negative length, and a traceback where nothing is known."""
    rows = [("a", "p", "k", 0.5, 0.6, 0.9), ("b", "p", "k", np.nan, np.nan, np.nan)]
    axes = dots_in_lines(table_of(rows)).axes[0]
    (first,) = marks(axes)
    assert first[:3] == pytest.approx((0.5, 0.5, 0.9))
    assert [text.get_text() for text in axes.get_yticklabels()] == ["a", "b"]
