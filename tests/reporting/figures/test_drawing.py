"""Figures are saved whole, and the same every time."""

from matplotlib.figure import Figure

from mecheval_jax.reporting.figures import drawing
from mecheval_jax.reporting.figures import run_figures as figures
from tests.support.reported_runs import table_of


def test_figures_are_the_same_every_time(tmp_path):
    paths = [
        drawing.save(figures.attribution_heat_map(table_of(), "key", "restore"), tmp_path, name)
        for name in ("one", "two")
    ]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_figure_is_never_there_by_half(tmp_path, monkeypatch):
    """Catches a shard of a sweep that puts into its page what another has begun to draw."""
    figure, _ = drawing.one_axes(2.0, 2.0)
    path = drawing.save(figure, tmp_path, "one")
    whole, savefig = path.read_text(), Figure.savefig

    def draw(self, *arguments, **options):
        savefig(self, *arguments, **options)
        assert path.read_text() == whole

    monkeypatch.setattr(Figure, "savefig", draw)
    drawing.save(drawing.one_axes(3.0, 3.0)[0], tmp_path, "one")
    assert path.read_text() != whole
    assert {each.name for each in tmp_path.iterdir()} == {"one.png", "one.svg"}
