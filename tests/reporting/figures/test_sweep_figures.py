"""Figures of a sweep: every member, shape and interval at its place."""

import numpy as np
import pandas as pd
import pytest

from mecheval_jax.reporting.figures import sweep_figures
from mecheval_jax.reporting.html import sweep_report
from mecheval_jax.store.sweep_tables import best
from tests.support.sweep_results import ACCURACIES, ATTENTION, BASED, FLOOR, MAMBA, TITLES


def panels(figure, names):
    return dict(zip(names, figure.axes, strict=False))


def points(axes, style):
    """Coordinates of the marks of a style."""
    lines = [line for line in axes.lines if line.get_marker() == style["marker"]]
    return np.concatenate([line.get_xydata() for line in lines] or [np.zeros((0, 2))])


def test_every_member_has_its_mark_at_its_accuracy(table):
    """Catches members of another shape in a panel, a mean for a median, and a floor elsewhere."""
    drawn = panels(sweep_figures.accuracy_by_rate(table, TITLES), TITLES)
    for name, mixer in ((ATTENTION, "attention"), (MAMBA, "mamba")):
        axes, values = drawn[name], ACCURACIES[mixer]
        good = points(axes, sweep_figures.MEMBER)
        bad = points(axes, sweep_figures.DIVERGED)
        every = np.concatenate([good, bad])
        assert sorted(every[:, 1]) == sorted(values.values())
        assert len(np.unique(every[:, 0])) == len(every)  # equal accuracies lie side by side
        nearest = np.where(np.abs(every[:, 0] + 4) < np.abs(every[:, 0] + 2), 1e-4, 1e-2)
        expected = {(rate, value) for (rate, _), value in values.items()}
        assert {(r, v) for r, v in zip(nearest, every[:, 1], strict=True)} == expected
        median, floor = axes.lines[-2], axes.lines[-1]
        at = [np.median([v for (r, _), v in values.items() if r == rate]) for rate in (1e-4, 1e-2)]
        np.testing.assert_allclose(median.get_xydata(), [(-4, at[0]), (-2, at[1])])
        assert set(floor.get_ydata()) == {FLOOR}
    assert points(drawn[ATTENTION], sweep_figures.DIVERGED)[:, 1] == [0.18]
    assert len(points(drawn[MAMBA], sweep_figures.DIVERGED)) == 0
    assert "member that diverged" in legend_of(drawn[ATTENTION].figure)


def legend_of(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_the_legend_has_what_occurs(table):
    """Catches names of marks that nobody finds in the figure."""
    figure = sweep_figures.accuracy_by_rate(table, {MAMBA: TITLES[MAMBA]})
    assert legend_of(figure) == [
        "member", "median of a learning rate", "best heuristic without recall"
    ]  # fmt: skip


@pytest.mark.parametrize("rates", [(1e-3,), (0.0,), (0.0, 1e-3, 2e-3)])
def test_rates_that_no_logarithm_has(table, rates):
    """Catches a figure of one learning rate, or of none, that cannot be drawn."""
    members = sorted(set(table["member"]))
    rate = {member: rates[i % len(rates)] for i, member in enumerate(members)}
    figure = sweep_figures.accuracy_by_rate(
        table.assign(learning_rate=table["member"].map(rate)), TITLES
    )
    figure.canvas.draw()
    for axes in panels(figure, TITLES).values():
        labels = [label.get_text() for label in axes.get_xticklabels()]
        assert labels == [f"{one:g}" for one in rates]
        low, high = axes.get_xlim()
        inside = points(axes, sweep_figures.MEMBER)[:, 0]
        assert np.isfinite([low, high]).all()
        assert ((low < inside) & (inside < high)).all()


def test_learning_curves_are_of_all_members_and_the_best_stands_out(swept, table):
    """Catches training rows among dev rows, the wrong best member, and ends that are not marked."""
    titles = TITLES | {BASED: "based"}
    curves = {name: sweep_report._curves(swept.group(name)) for name in titles}
    chosen = best(table)
    members = dict(zip(chosen["group"], chosen["member"], strict=True))
    rises = {ATTENTION: (5, 10)}
    figure = sweep_figures.learning_curves(curves, titles, table, members, rises)
    drawn = panels(figure, titles)
    (shaded,) = drawn[ATTENTION].patches
    assert (shaded.get_x(), shaded.get_x() + shaded.get_width()) == (5, 10)
    assert not drawn[BASED].patches
    (others,) = drawn[ATTENTION].collections
    assert len(others.get_segments()) == 5
    line = max(drawn[ATTENTION].lines, key=lambda line: len(line.get_xdata()))
    np.testing.assert_allclose(line.get_xydata()[-1], (15, 0.995))  # member 5, which stopped
    np.testing.assert_allclose(points(drawn[ATTENTION], sweep_figures.MEMBER), [(15, 0.995)])
    # Member 4 was last looked at at step 5 of the 7 that it took.
    np.testing.assert_allclose(
        points(drawn[ATTENTION], sweep_figures.DIVERGED), [(7, 0.18 * 5 / 7)]
    )
    (others,) = drawn[BASED].collections
    assert len(others.get_segments()) == 2
    assert not drawn[BASED].lines  # neither a best member nor a floor is known


def test_one_evaluation_of_a_member_is_seen(swept, table):
    """Catches a line through one point, of which nothing is drawn."""
    rows = {member: [{"step": 9, "accuracy": 0.1 * member}] for member in (6, 7, 8)}
    titles = {MAMBA: "mamba"}
    (axes,) = sweep_figures.learning_curves({MAMBA: rows}, titles, table, {MAMBA: 8}, {}).axes
    marked = [line for line in axes.lines if line.get_marker() == "o"]
    ends = {tuple(line.get_xydata()[0].round(3)): line.get_color() for line in marked}
    grey, blue = sweep_figures.GREY, sweep_figures.BEST["color"]
    assert ends == {(9, 0.6): grey, (9, 0.7): grey, (9, 0.8): blue}


def test_success_has_its_interval_at_its_shape(swept):
    """Catches the rows of one rate among those of all, and shapes that are swapped."""
    success = pd.read_csv(swept.success)
    (axes,) = sweep_figures.success_by_shape(success, TITLES).axes
    shares = {0.5: (2 / 6, 2 / 4), 0.9: (2 / 6, 0.0), 0.99: (1 / 6, 0.0)}
    assert len(axes.containers) == 3
    for bars, (threshold, expected) in zip(axes.containers, shares.items(), strict=True):
        line, _, (interval,) = bars
        assert bars.get_label() == f"accuracy above {threshold:.0%}"
        np.testing.assert_allclose(line.get_xdata(), expected)
        assert [round(y) for y in line.get_ydata()] == [0, 1]
        rows = success[(success["over"] == "all") & (success["threshold"] == threshold)]
        ends = [segment[:, 0] for segment in interval.get_segments()]
        np.testing.assert_allclose(ends, rows[["low", "high"]], atol=1e-12)


def test_verdicts_are_counted(table):
    """Catches counts of another class, and bars that do not stand end to end."""
    (axes,) = sweep_figures.verdicts_by_shape(table, TITLES).axes
    found = {bars.get_label(): bars for bars in axes.containers}
    counts = {name: [bar.get_width() for bar in bars] for name, bars in found.items()}
    assert counts == {
        "induction": [1, 0],
        "direct retrieval": [1, 0],
        "not learned": [2, 0],
    }
    assert [found[name][0].get_x() for name in counts] == [0, 1, 2]


def test_verdicts_of_another_version_are_counted(table):
    """Catches members that are missing in a bar, since their verdict is no class today."""
    renamed = table.replace({"label": {"induction": "an_older_class"}})
    (axes,) = sweep_figures.verdicts_by_shape(renamed, TITLES).axes
    found = {bars.get_label(): [bar.get_width() for bar in bars] for bars in axes.containers}
    assert found == {"direct retrieval": [1, 0], "not learned": [2, 0], "an older class": [1, 0]}


def test_a_member_that_diverged_before_it_was_measured_has_a_mark(table):
    """Catches a legend that names a mark which is nowhere."""
    gone = (table["member"] == 4) & (table["metric"] == "accuracy")
    figure = sweep_figures.accuracy_by_rate(table.assign(value=table["value"].mask(gone)), TITLES)
    bad = points(panels(figure, TITLES)[ATTENTION], sweep_figures.DIVERGED)
    assert bad[:, 1].tolist() == [0.0]
