"""Figures are saved whole, and the same every time."""

import numpy as np
from matplotlib.figure import Figure

from mecheval_jax.mixers.architectures import ARCHITECTURES
from mecheval_jax.reporting.figures import drawing, saving
from mecheval_jax.reporting.figures import run_figures as figures
from tests.support.reported_runs import ROLES, VALUES, table_of


def test_figures_are_the_same_every_time(tmp_path):
    paths = [
        saving.save(figures.attribution_heat_map(table_of(), "key", "restore"), tmp_path, name)
        for name in ("one", "two")
    ]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_figure_is_never_there_by_half(tmp_path, monkeypatch):
    """Catches a shard of a sweep that puts into its page what another has begun to draw."""
    figure, _ = drawing.one_axes(2.0, 2.0)
    path = saving.save(figure, tmp_path, "one")
    whole, savefig = path.read_text(), Figure.savefig

    def draw(self, *arguments, **options):
        savefig(self, *arguments, **options)
        assert path.read_text() == whole or options["format"] != "svg"  # which is the first

    monkeypatch.setattr(Figure, "savefig", draw)
    saving.save(drawing.one_axes(3.0, 3.0)[0], tmp_path, "one")
    assert path.read_text() != whole
    assert {each.name for each in tmp_path.iterdir()} == {"one.png", "one.svg", "one.pdf"}


def test_an_architecture_looks_the_same_in_every_figure():
    """Catches a colour by the order of a table's rows, and two that cannot be told apart."""
    names = ["mamba,attention", "gated_delta_net", "based", "my_module:Mine"]
    styles = drawing.mixer_styles(names)
    assert list(styles) == names
    assert drawing.mixer_styles(names[::-1]) == styles
    assert len({style["color"] for style in styles.values()}) == len(names)
    assert drawing.mixer_styles(["based"])["based"] == styles["based"]
    many = drawing.mixer_styles([*ARCHITECTURES, *names])
    assert len({tuple(style.values()) for style in many.values()}) == len(many)


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
    # A cell without a value is clear, and the hatched ground of the axes is seen.
    assert image.to_rgba(image.get_array())[1, 1, 3] == 0
    assert axes.patch.get_hatch()
    assert (image.norm.vmin, image.norm.vmax) == (-1, 1)
    assert image.cmap(image.norm(1.37)) == image.cmap(image.norm(1.0))


def test_heat_map_of_nothing_that_can_be_told():
    nothing = dict.fromkeys(VALUES)  # a column of None is one of objects
    figure = figures.attribution_heat_map(table_of(nothing), "key", "restore")
    assert all(image.get_array().mask.all() for axes in figure.axes for image in axes.images)
