"""Figures of what a model remembers, from tables that are made up."""

import pandas as pd
import pytest

from mecheval_jax.reporting.figures import memory_figures

ENDS = {"low": None, "high": None}


def capacity_table(value, beyond):
    rows = [
        {"metric": "recall", "pairs": n, "value": 1 / n, "low": 0.5 / n, "high": min(2 / n, 1)}
        for n in (1, 2, 4)
    ]
    rows += [{"metric": "hashing", "pairs": n, "value": 0.9} | ENDS for n in (1, 2, 4)]
    low, high = (None, None) if value is None else (value / 2, value * 2)
    rows.append({"metric": "threshold", "pairs": 4, "value": value, "low": low, "high": high})
    rows.append({"metric": "additive_threshold", "pairs": 4, "value": 3.0} | ENDS)
    shared = {"mixer": "gla", "state_bytes": 512, "beyond": beyond}
    return pd.DataFrame([row | shared for row in rows])


def test_capacity_of_one_model():
    """Catches a threshold that is drawn where none was found, and another line's numbers."""
    axes = memory_figures.capacity_curve(capacity_table(2.0, "")).axes[0]
    assert axes.get_title(loc="left") == "half is recalled at 2.00 pairs [1.00, 4.00]"
    lines = {line.get_label(): list(line.get_ydata()) for line in axes.lines}
    assert lines["gla"] == [1, 0.5, 0.25]
    assert lines["additive memory"] == [0.9] * 3
    axes = memory_figures.capacity_curve(capacity_table(None, "above")).axes[0]
    assert "above the numbers of pairs measured" in axes.get_title(loc="left")
    assert len(axes.lines) == 2


def test_capacities_of_several_models():
    """Catches thresholds that are not known drawn as if they were, and a mean of other runs."""
    known, unknown = capacity_table(2.0, ""), capacity_table(None, "above")
    other = known.assign(run="b", value=known["value"] / 2)
    below = capacity_table(None, "below").assign(run="d", mixer="h3")
    unknown = unknown.assign(run="c", mixer="mamba")
    table = pd.concat([known.assign(run="a"), other, unknown, below])
    left, right = memory_figures.capacities(table).axes
    lines = {line.get_label(): list(line.get_ydata()) for line in left.lines}
    assert lines["gla"] == [0.75, 0.375, 0.1875]
    assert lines["additive memory"] == pytest.approx([(0.9 + 0.45 + 0.9 + 0.9) / 4] * 3)
    hollow = [
        line for line in right.lines if line.get_fillstyle() == "none" and len(line.get_ydata())
    ]
    assert [list(line.get_ydata()) for line in hollow] == [[4], [1]]
    full = [bars.lines[0] for bars in right.containers if len(bars.lines[0].get_ydata())]
    assert [list(line.get_ydata()) for line in full] == [[2.0, 1.0]]
    theory = next(line for line in right.lines if line.get_linestyle() == "--")
    assert sorted(theory.get_ydata()) == [1.5, 3.0, 3.0, 3.0]


def test_ends_beyond_the_measured_sizes_are_arrows():
    """Catches a threshold of which one end alone is known drawn as if it were exact."""
    table = capacity_table(2.0, "").assign(run="a")
    table.loc[table["metric"] == "threshold", "high"] = None
    right = memory_figures.capacities(table).axes[1]
    (bars,) = right.containers
    (segment,) = bars.lines[2][0].get_segments()
    assert sorted(segment[:, 1]) == [1.0, 4.0]
    arrows = {line.get_marker(): list(line.get_ydata()) for line in right.lines}
    assert (arrows["^"], arrows["v"]) == ([4], [])


def test_generalization_beside_the_floors():
    """Catches the floor of one setting beside another's accuracy."""
    rows = [
        {"setting": name, "metric": metric, "value": value} | ENDS
        for name, accuracy, floor in (("as trained", 0.9, 0.25), ("pairs=8", 0.5, 0.125))
        for metric, value in (("accuracy", accuracy), ("floor", floor))
    ]
    axes = memory_figures.generalization_bars(pd.DataFrame(rows)).axes[0]
    assert [bar.get_height() for bar in axes.patches] == [0.9, 0.5]
    (floors,) = (each for each in axes.collections if each.get_label() == "best floor")
    assert [segment[0][1] for segment in floors.get_segments()] == [0.25, 0.125]


def cells(axes):
    return [text.get_text() for text in axes.texts]


@pytest.mark.parametrize(
    ("draw", "rows", "expected", "title"),
    [
        (
            memory_figures.editing_cells,
            [
                {"question": "edited", "metric": "accuracy", "operation": "none", "value": 0.9},
                {"question": "edited", "metric": "new_answer", "operation": "none", "value": 0.1},
                {"question": "edited", "metric": "change", "operation": "edit", "value": -0.5},
            ],
            ["0.90", "0.10"],
            "Right answers, edited at here",
        ),
        (
            memory_figures.overwriting_cells,
            [
                {"metric": "new_probability", "condition": "clean", "value": 0.8},
                {"metric": "old_probability", "condition": "clean", "value": 0.2},
                {"metric": "uncovered", "value": 0.05, "reading": "erased"},
            ],
            ["0.80", "0.20"],
            "erased: uncovered 0.05",
        ),
        (
            memory_figures.component_cells,
            [
                {
                    "component": "a",
                    "where": "pair",
                    "ablation": "zero",
                    "metric": "kept",
                    "value": 0.3,
                },
                {"component": "a", "where": "pair", "ablation": "zero", "metric": "accuracy"},
            ],
            ["0.30"],
            "zero",
        ),
    ],
    ids=["editing", "overwriting", "components"],
)
def test_tables_of_cells(draw, rows, expected, title):
    """Catches a metric in the place of another, and cells that are transposed."""
    table = pd.DataFrame(
        [{"site": "here", "condition": None, "value": None} | ENDS | r for r in rows]
    )
    axes = draw(table).axes[0]
    assert cells(axes) == expected
    assert axes.get_title(loc="left").strip() == title
