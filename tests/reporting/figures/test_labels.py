"""Labels of points do not cover one another."""

import numpy as np
import pandas as pd
import pytest

from mecheval_jax.reporting.figures import comparison_figures
from mecheval_jax.reporting.figures import run_figures as figures
from mecheval_jax.reporting.figures.look import Look, looking
from tests.support.choices import choice_rows
from tests.support.reported_runs import table_of


def test_scatter_labels_do_not_cover_one_another():
    rng = np.random.default_rng(0)
    runs = {}
    for index, (query, value) in enumerate(rng.uniform(0, 1, (12, 2))):
        places = {"query": query, "value": value}
        runs[f"a_run_{index}"] = table_of(
            {("block_1/block_input", r): v for r, v in places.items()}
        )
    figure, _ = figures.layer_scatter(runs)
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    for index, box in enumerate(boxes):
        for other in boxes[index + 1 :]:
            width = min(box.x1, other.x1) - max(box.x0, other.x0)
            height = min(box.y1, other.y1) - max(box.y0, other.y0)
            assert min(width, height) < 1
    many = {f"{name}_{copy}": table for name, table in runs.items() for copy in "ab"}
    figure, _ = figures.layer_scatter(many)  # too many to name: numbered, and listed beside
    assert "24  a_run_11_b" in figure.texts[0].get_text()


@pytest.mark.parametrize("prescribed", [Look(), Look(width=8.0)])
def test_names_of_several_panels_are_listed_once(prescribed):
    """Catches a list over a panel or another list, and a figure wider than was asked for."""
    rows = pd.concat([pd.DataFrame(choice_rows()).assign(width=16 * 2**i) for i in range(5)])
    with looking(prescribed):
        figure = comparison_figures.cost_against_accuracy(rows)
    figure.draw_without_rendering()
    (listed,) = figure.texts
    assert len(listed.get_text().split("\n")) == len(rows)
    box = listed.get_window_extent()
    assert not any(box.overlaps(axes.get_tightbbox()) for axes in figure.axes)
    assert box.x1 < figure.bbox.x1
    assert box.y1 < figure.bbox.y1
    assert prescribed.width in (None, figure.get_figwidth())


@pytest.mark.parametrize("prescribed", [Look(), Look(width=3.3, font_size=8)])
def test_long_names_are_listed(prescribed):
    """Catches names that leave the marks no room, and lines of the list that are cut off."""
    runs = {f"{'some/folder/' * 8}run_{i}": table_of() for i in range(3)}
    with looking(prescribed):
        figure, _ = figures.layer_scatter(runs)
    (listed,) = figure.texts
    assert "run_2" in "".join(listed.get_text().split())
    assert "1, 2, 3" in [text.get_text() for text in figure.axes[0].texts]
