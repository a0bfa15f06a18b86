"""Cells of heat maps: right number, right place."""

import numpy as np

from mecheval_jax.reporting.figures import run_figures as figures
from tests.support.reported_runs import ROLES, VALUES, table_of


def test_heat_map_has_every_value_in_its_cell():
    figure = figures.attribution_heat_map(table_of(), "key", "restore")
    panels = {axes.get_title(loc="left"): axes for axes in figure.axes if axes.images}
    assert list(panels) == ["block input", "block output"]
    axes = panels["block output"]
    assert [label.get_text() for label in axes.get_xticklabels()] == list(ROLES)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["0", "1"]
    expected = np.array([[0.11, 0.87, -0.001], [0.03, np.nan, 1.37]])
    image = axes.images[0]
    np.testing.assert_array_equal(image.get_array().filled(np.nan), expected)
    texts = {tuple(map(int, text.get_position())): text.get_text() for text in axes.texts}
    assert texts == {(0, 0): "0.11", (1, 0): "0.87", (2, 0): "0.00", (0, 1): "0.03", (2, 1): "1.37"}
    (hatched,) = [patch for patch in axes.patches if patch.get_hatch()]
    assert hatched.get_xy() == (0.5, 0.5)
    assert (image.norm.vmin, image.norm.vmax) == (-1, 1)
    assert image.cmap(image.norm(1.37)) == image.cmap(image.norm(1.0))


def test_heat_map_of_nothing_that_can_be_told():
    nothing = dict.fromkeys(VALUES)  # a column of None is one of objects
    figure = figures.attribution_heat_map(table_of(nothing), "key", "restore")
    assert all(image.get_array().mask.all() for axes in figure.axes for image in axes.images)
