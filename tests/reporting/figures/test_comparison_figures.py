"""Accuracy against width and cost: every model at its place."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.transforms import Bbox

from mecheval_jax.reporting.figures import comparison_figures
from tests.support.choices import choice_rows

ROWS = [
    {"run": f"{mixer} {width}", "mixer": mixer, "width": width, "accuracy": accuracy}
    | {"accuracy_low": accuracy - 0.1, "accuracy_high": accuracy + 0.02, "floor": 0.25}
    | {"published": published}
    for mixer, width, accuracy, published in (
        ("mamba", 16, 0.31, None),
        ("mamba", 64, 0.57, 0.806),
        ("mamba", 64, 0.52, 0.806),
        ("attention", 64, 0.97, None),
    )
]


def test_accuracy_by_width():
    """Catches a width for another, a mean for the best, and a published value at another model."""
    figure = comparison_figures.accuracy_by_width(ROWS)
    (axes,) = figure.axes
    values = [(float(round(np.log2(note.x))), note.y, note.text) for note in figure.notes]
    assert values == [
        (4.0, 0.31, "mamba 16: 31.0% [21.0%, 33.0%]"),
        (6.0, 0.52, "mamba 64: 52.0% [42.0%, 54.0%]"),
        (6.0, 0.57, "mamba 64: 57.0% [47.0%, 59.0%]"),
        (6.0, 0.97, "attention 64: 97.0% [87.0%, 99.0%]"),
    ]
    joined = [line for line in axes.lines if line.get_linestyle() == "-"]
    assert [list(line.get_ydata()) for line in joined] == [[0.31, 0.57], [0.97]]
    hollow = [line for line in axes.lines if line.get_markerfacecolor() == "none"]
    shown = [y for line in hollow for y in np.asarray(line.get_ydata(), float)]
    assert [y for y in shown if not np.isnan(y)] == [0.806, 0.806]


def test_architectures_that_share_a_colour_have_marks_in_the_legend():
    """Catches two names beside lines that look alike."""
    rows = [
        ROWS[0] | {"mixer": f"mixer_{i}", "width": width} for i in range(9) for width in (16, 64)
    ]
    figure = comparison_figures.accuracy_by_width(rows)
    lines = figure.legends[0].get_lines()[:9]
    assert len({(line.get_color(), line.get_marker()) for line in lines}) == 9


def test_models_of_other_documents_have_a_panel_of_their_own():
    """Catches a line through models of two tasks, and one floor for both."""
    hard = [row | {"task": "pairs 16", "floor": 0.0625, "accuracy": 0.1} for row in ROWS]
    figure = comparison_figures.accuracy_by_width(
        [row | {"task": "pairs 4"} for row in ROWS] + hard
    )
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["pairs 4", "pairs 16"]
    for axes, floor in zip(figure.axes, (0.25, 0.0625), strict=True):
        dashed = [line for line in axes.lines if line.get_linestyle() == "--"]
        assert [set(line.get_ydata()) for line in dashed] == [{floor}]
    shown = [set(np.round(line.get_ydata(), 2)) for line in figure.axes[1].lines
             if line.get_linestyle() == "-"]  # fmt: skip
    assert shown == [{0.1}, {0.1}]
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["mamba", "attention", "floor", "hollow: published"]


def test_cost_against_accuracy():
    """Catches costs that are swapped, and a filled mark at a model that another beats."""
    choice = pd.DataFrame(choice_rows())
    figure = comparison_figures.cost_against_accuracy(choice)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["training", "reading a document", "generating", "state"]
    columns = ("training_seconds", "prefill_seconds", "decode_seconds", "state_bytes")
    fronts = ("front_training", "front_prefill", "front_decode", "front_state")
    for axes, column, front in zip(figure.axes, columns, fronts, strict=True):
        marks = [line for line in axes.lines if line.get_marker() in ("o", "s", "^")]
        found = {float(m.get_xdata()[0]): m.get_markerfacecolor() != "white" for m in marks}
        assert found == dict(zip(choice[column], choice[front], strict=True))
        assert axes.get_xlabel() in ("time a token", "time a document", "size")
    told = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "hollow: not learned, or another is as good in both" in told


def test_costs_that_are_almost_equal_lie_together():
    """Catches a difference of two in a thousand that is drawn across the whole axis."""
    choice = pd.DataFrame(choice_rows())
    choice["state_bytes"] = [19_460, 19_500, 19_480]
    for axes in comparison_figures.cost_against_accuracy(choice).axes:
        low, high = axes.get_xlim()
        assert high / low >= 2 * (1 - 1e-9)


@pytest.mark.parametrize("sizes", [[0, 19_460, 1_200], [0, 0, 0]])
def test_a_cost_of_nothing_has_a_place(sizes):
    """Catches a mark of a model without a state that no logarithmic axis has a place for."""
    choice = pd.DataFrame(choice_rows())
    choice["state_bytes"] = sizes
    figure = comparison_figures.cost_against_accuracy(choice)
    axes = figure.axes[-1]
    figure.canvas.draw()
    marks = [line for line in axes.lines if line.get_marker() in ("o", "s", "^")]
    shown = [axes.transData.transform(line.get_xydata()[0]) for line in marks]
    assert len(shown) == len(sizes)
    assert np.isfinite(shown).all()
    places = [axes.transAxes.inverted().transform(place)[0] for place in shown]
    assert all(0 < place < 1 for place in places)
    assert [places[i] for i in np.argsort(sizes)] == sorted(places)
    if any(sizes):
        assert places[1] - places[2] > 0.1
        assert places[2] - places[0] > 0.1


def test_names_do_not_lie_on_error_bars():
    """Catches a name that is written over the interval of its own mark."""
    rows = pd.DataFrame(choice_rows())
    ends = {"prefill_seconds_low": 0.5, "prefill_seconds_high": 2.0}
    rows = rows.assign(**{name: rows["prefill_seconds"] * times for name, times in ends.items()})
    axes = comparison_figures.cost_against_accuracy(rows).axes[1]
    names = [text.get_window_extent() for text in axes.texts]
    ends = [axes.transData.transform(part.get_segments()[0]) for part in axes.collections]
    assert len(ends) == 2 * len(names)
    assert [box for box in names if any(box.overlaps(Bbox(bar)) for bar in ends)] == []
