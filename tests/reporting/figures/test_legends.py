"""Names of lines and marks have room, and so have the axes."""

from matplotlib.colors import to_rgba

from mecheval_jax.reporting.figures import run_figures as figures
from mecheval_jax.reporting.figures.look import Look, looking


def test_a_legend_leaves_room_for_the_axes():
    """Catches axes that shrink to nothing above the names of many runs in a narrow figure."""
    dev = [{"step": step, "split": "dev", "accuracy": 0.5} for step in (1, 2)]
    runs = {f"a_rather_long_name_of_run_{i}": dev for i in range(12)}
    with looking(Look(width=3.3, font_size=8)):
        figure = figures.accuracy_over_steps(runs, {})
    figure.draw_without_rendering()
    (legend,) = figure.legends
    axes = figure.axes[0].get_tightbbox()
    assert figure.get_figwidth() == 3.3
    assert axes.y0 > legend.get_window_extent().y1
    assert axes.height > figure.dpi


def test_a_long_name_stands_below_the_axes():
    """Catches a curve's name beside the axes that takes their room, or is cut off."""
    rows = [{"step": step, "split": "dev", "accuracy": 0.5} for step in (1, 2)]
    (axes,) = figures.accuracy_over_steps({"a": rows, "b" * 150: rows}, {}).axes
    axes.figure.draw_without_rendering()
    assert axes.figure.legends
    assert axes.get_position().width > 0.8
    assert not figures.accuracy_over_steps({"a": rows, "b" * 20: rows}, {}).legends


def test_what_leads_to_a_name_is_no_data():
    """Catches a stroke to a name that looks like the last part of its curve."""
    rows = [{"step": step, "split": "dev", "accuracy": 0.5} for step in (1, 2)]
    (axes,) = figures.accuracy_over_steps({"a": rows, "b": rows}, {}).axes
    strokes = [text.arrow_patch for text in axes.texts if text.arrow_patch is not None]
    assert len(strokes) == 2
    curves = {to_rgba(line.get_color()) for line in axes.lines}
    for stroke in strokes:
        assert stroke.get_edgecolor() not in curves
        assert stroke.get_linewidth() < min(line.get_linewidth() for line in axes.lines)
