"""Figures of runs: right rows, right axes."""

import pandas as pd
import pytest
from matplotlib.text import Text

from mecheval_jax.reporting.figures import run_figures as figures
from mecheval_jax.reporting.html.comparison import MOST_CURVES
from tests.support.reported_runs import TRAINING, VALUES, attribution_rows, table_of


def test_heat_map_reads_its_own_corruption_and_direction():
    other = table_of(dict.fromkeys(VALUES, 0.5), direction="damage")
    table = pd.concat([table_of(), other, table_of(dict.fromkeys(VALUES, 0.4), corruption="value")])
    for corruption, direction, expected in (("key", "damage", 0.5), ("value", "restore", 0.4)):
        figure = figures.attribution_heat_map(table, corruption, direction)
        images = [image for axes in figure.axes for image in axes.images]
        assert {value for image in images for value in image.get_array().ravel()} == {expected}


def test_heat_map_shows_sites_outside_the_blocks():
    place = {"layer": None, "component": "embedding", "site": "embedding", "role": "key"}
    row = attribution_rows()[0] | place | {"value": 0.66}
    figure = figures.attribution_heat_map(pd.DataFrame([row]), "key", "restore")
    assert [text.get_text() for text in figure.axes[0].texts] == ["0.66"]


def test_accuracy_curves():
    metrics = [
        {"step": s, "split": d, "accuracy": s / k}
        for s in (1, 2)
        for d, k in (("train", 4), ("dev", 8))
    ]
    figure = figures.accuracy_over_steps({"_a$x$": metrics}, {"_a$x$": 0.25})
    (axes,) = figure.axes
    train, dev, floor = axes.lines
    assert list(train.get_ydata()) == [0.25, 0.5]
    assert list(dev.get_ydata()) == [0.125, 0.25]
    assert set(floor.get_ydata()) == {0.25}
    assert floor.get_linestyle() == "--"
    assert axes.get_ylim() == pytest.approx((-0.02, 1.02))
    assert axes.yaxis.get_major_formatter()(0.4) == "40%"


def test_one_evaluation_is_seen():
    """Catches a line through one point, of which nothing is drawn."""
    rows = [{"step": 400, "split": split, "accuracy": 0.5} for split in ("train", "dev")]
    (axes,) = figures.accuracy_over_steps({"run": rows}, {}).axes
    assert [line.get_marker() for line in axes.lines] == ["o", "o"]
    more = [*rows, {"step": 500, "split": "dev", "accuracy": 0.6}]
    (axes,) = figures.accuracy_over_steps({"run": more}, {}).axes
    assert [line.get_marker() for line in axes.lines] == ["o", "None"]


def test_every_curve_has_a_look_of_its_own():
    """Catches runs that share a colour, and nothing that tells them apart in the legend."""
    rows = [{"step": step, "split": "dev", "accuracy": 0.5} for step in (1, 2)]
    figure = figures.accuracy_over_steps({f"run{i}": rows for i in range(MOST_CURVES)}, {})
    looks = {
        (line.get_color(), line.get_marker(), line.get_linestyle())
        for line in figure.legends[0].get_lines()
    }
    assert len(looks) == MOST_CURVES + 1  # and that of training documents


def test_scatter_places_every_run_and_names_it():
    bound_late = VALUES | {("block_1/block_input", "value"): 0.05}
    late = pd.concat(
        [table_of(bound_late), table_of({("block_1/block_input", "next_key"): 0.97})],
    )
    runs = {"first": table_of(), "$late": late, "blind": table_of(dict.fromkeys(VALUES))}
    figure, placed = figures.layer_scatter(runs)
    assert placed == ["first", "$late"]
    marks = [line for line in figure.axes[0].lines if line.get_marker() not in ("None", "_", "|")]
    places = [(float(x), float(y)) for mark in marks for x, y in [mark.get_xydata()[0]]]
    assert places == [(0.02, 0.93), (0.02, 0.97)]
    texts = "\n".join(text.get_text() for text in figure.axes[0].texts).split("\n")
    assert {"first", "$late"} <= set(texts)


def test_attributions_over_steps_stand_beside_the_accuracy():
    """Catches a line of another site, and an interval of the transition that is not drawn."""
    early = table_of(dict.fromkeys(VALUES, 0.25)).assign(step=100)
    figure = figures.attribution_over_steps(
        pd.concat([early, table_of()]), TRAINING["steps"], TRAINING["transitions"]
    )
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    assert list(lines["@value"].get_xdata()) == [100, 200]
    assert list(lines["@value"].get_ydata()) == [0.25, 0.93]
    assert list(lines["@key"].get_ydata()) == [0.25, -0.13]
    assert list(lines["accuracy"].get_ydata()) == [0.26, 0.912]
    (shaded,) = figure.axes[0].patches
    assert (shaded.get_x(), shaded.get_width()) == (100, 100)  # an open end goes to the last


def test_a_scatter_holds_what_is_far_away():
    """Catches an interval that is cut off at the edge, and a corner's name amid the marks."""
    far = VALUES | {("block_1/block_input", "value"): 12.0}
    at_the_edge = VALUES | {("block_1/block_input", "query"): -0.28}
    figure, _ = figures.layer_scatter({"far": table_of(far), "edge": table_of(at_the_edge)})
    (axes,) = figure.axes
    assert axes.get_ylim()[1] > 12.05
    assert axes.get_xlim()[0] < -0.33
    corner = next(text for text in axes.texts if text.get_text() == "induction")
    assert axes.transAxes.inverted().transform(corner.get_window_extent())[0, 1] > 0.9


def test_over_steps_nothing_is_cut_off():
    """Catches a share below -1 or above 1.35 of which nothing is said."""
    values = VALUES | {("block_1/block_input", "value"): 1.9, ("block_1/block_input", "key"): -2.0}
    history = pd.concat([table_of(values).assign(step=100), table_of(values)])
    figure = figures.attribution_over_steps(history, TRAINING["steps"], TRAINING["transitions"])
    low, high = figure.axes[0].get_ylim()
    assert low < -2.05
    assert high > 1.95
    wide = history.assign(high=history["high"].replace(1.95, 90.0))
    figure = figures.attribution_over_steps(wide, TRAINING["steps"], TRAINING["transitions"])
    assert figure.axes[0].get_ylim()[1] < 5
    assert figure.axes[0].get_title(loc="right") == "2 intervals go on outside"


def test_floors_that_read_alike_are_one():
    """Catches two entries of a legend with the same text."""
    runs = {name: [{"step": 1, "split": "dev", "accuracy": 0.5}] for name in "abc"}
    figure = figures.accuracy_over_steps(runs, {"a": 0.25, "b": 0.2502, "c": 0.3})
    named = [text.get_text() for text in figure.findobj(Text)]
    assert named.count("floor, 25.0%") == 1
    assert named.count("floor, 30.0%") == 1
