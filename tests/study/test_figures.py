"""The study's figures, with both numbers."""

import numpy as np
import pytest

from mecheval_jax.study.cells import StudyCells
from mecheval_jax.study.figures import (
    INPUT,
    accuracy_by_width,
    attribution_scatter,
    convolution_sizes,
    study_figures,
    writing_layers,
)
from tests.support.legible import every_figure
from tests.support.study_world import changed, world

__all__ = ["every_figure"]


@pytest.fixture(scope="module")
def true():
    return world()


def heights(axes, x):
    """All that stands at a place of the x axis."""
    return [
        float(y)
        for line in axes.get_lines()
        for at, y in zip(*(np.atleast_1d(d) for d in line.get_data()), strict=True)
        if at == x
    ]


def test_accuracy_against_width(true):
    """Catches one number drawn as both, another mixer's panel, and a width at a wrong place."""
    own = changed(true, {"task": "AR", "mixer": "mamba", "width": 64}, accuracy=0.5)
    figure = accuracy_by_width(StudyCells(own[own["width"].isin((32, 64))]), "AR", 2)
    panels = {axes.get_title(loc="left"): axes for axes in figure.axes}
    assert {"attention", "mamba", "delta_net"} <= set(panels)
    at = heights(panels["mamba"], 64)
    assert {0.80625, 0.5} <= set(at)
    assert 0.5 not in heights(panels["mamba"], 32)
    assert len(heights(panels["mamba"], 256)) == 1  # the study's alone


def test_scatter_shows_runs_and_boxes(true):
    """Catches key and value taken for each other, and runs that have not learned."""
    where = {"task": "AR", "mixer": "based", "width": 64}
    shares = {f"{INPUT}@value": 0.8, f"{INPUT}@key": 0.3}
    moved = changed(true[true["task"] == "AR"], where, **shares)
    value, key = attribution_scatter(StudyCells(moved), ["AR"]).axes
    assert 0.8 in heights(value, 0.0)
    assert 0.8 not in heights(key, 0.0)
    assert 0.3 in heights(key, 0.0)
    assert len(value.patches) == 5  # mixers of which the study shows runs
    failed = changed(moved, where, verdict="not_learned")
    assert 0.8 not in heights(attribution_scatter(StudyCells(failed), ["AR"]).axes[0], 0.0)


def test_sizes_of_convolutions(true):
    """Catches taps in the wrong place, and sizes that nobody has."""
    mamba, based, shares = convolution_sizes(StudyCells(true[true["width"] == 64])).axes
    assert [text.get_text() for text in mamba.get_xticklabels()] == ["0", "1", "2", "3", "4"]
    assert [text.get_text() for text in based.get_xticklabels()] == ["1", "2", "3", "4", "long"]
    # The study's at five widths, and ours at the one in the middle, at exactly the same place.
    assert sorted(heights(mamba, 2))[-3:-1] == pytest.approx([291 / 320] * 2)
    assert len(heights(mamba, 2)) == 6
    # The study's medians with two, three and four taps, of which it shows the whole range, too.
    medians = [float(y) for line in shares.get_lines() if line.get_marker() == "o"
               for y in line.get_ydata()]  # fmt: skip
    assert sorted(medians) == sorted([0.2, 0.04, 0.01, 0.18, 0.75, 0.0, 0.0, 1.0, 0.0])


def test_layers_that_write(true):
    """Catches layers or depths that are mixed up."""
    part = true[(true["task"] == "AR") & (true["width"] == 64)]
    two = writing_layers(StudyCells(part)).axes[1]
    # Attention is the first, its layer 1 to the right: the study's median and our three runs.
    near = [
        (x, y)
        for line in two.get_lines()
        if line.get_marker() == "D"
        for x, y in zip(*line.get_data(), strict=True)
        if 0 < x < 0.5
    ]
    assert [y for _, y in near] == [1.0, 1.0, 1.0]


def test_only_what_there_is(true):
    """Catches empty figures: of what was not trained, or not measured."""

    def names(table):
        return [name for name, _, _ in study_figures(StudyCells(table))]

    assert names(true.iloc[:0]) == []
    one_layer = true[(true["task"] == "AR") & (true["layers"] == 1)]
    assert names(one_layer) == ["accuracy_ar_1", "layers"]
    answers = one_layer.drop(columns=[name for name in true if "@" in name])
    assert names(answers.reindex(columns=true.columns)) == ["accuracy_ar_1"]


@pytest.mark.parametrize(
    "where",
    [
        # Runs of other mixers, of a task that the study has and of one that it has not.
        {"mixer": "mamba2"},
        {"mixer": "mamba2", "task": "AR filler"},
        # Sizes of convolutions and layers, on another task than these figures are of.
        {"option": "d_conv=2", "task": "AR filler"},
        # Runs that were measured and have learned nothing.
        {"verdict": "not_learned", "accuracy": 0.05, "option": "d_conv=2", "task": "AR reverse"},
    ],
    ids=str,
)
def test_figures_of_the_study_alone_are_not_drawn(true, where):
    """Catches an error, and figures of published numbers beside which no own one stands."""
    rows = true[(true["task"] == "AR") & (true["layers"] == 2) & (true["mixer"] == "mamba")]
    own = rows[(rows["option"] == "") & (rows["positions"] == "none")].assign(**where)
    assert [name for name, _, _ in study_figures(StudyCells(own))] == []


def test_shares_far_from_1_are_held(true):
    """Catches a share that is cut off at the edge without a word."""
    where = {"task": "AR", "mixer": "mamba", "layers": 2}
    far = changed(true, where, **{"block_0/mixer_output@query": 1.9})
    panels = writing_layers(StudyCells(far)).axes
    assert all(axes.get_ylim()[1] > 1.9 for axes in panels)
    assert writing_layers(StudyCells(true)).axes[0].get_ylim() == (-0.3, 1.3)
