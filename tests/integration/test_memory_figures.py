"""`tools.memory_figures`: what marks of the figures about memory stand for."""

import pandas as pd
import pytest

from tests.integration.test_memory_results import long, runs
from tools import memory_figures


def of(dots, *keys):
    """Some keys of marks."""
    return [tuple(dot[key] for key in keys) for dot in dots]


def test_edits():
    """Catches an effect in another's panel, and a model that recalls nothing."""
    rows = [
        {"operation": "edit", "question": "others", "metric": "change", "value": -0.1},
        {"operation": "erase", "question": "edited", "metric": "accuracy", "value": 0.2},
        {"operation": "none", "question": "edited", "metric": "accuracy", "value": 0.9},
    ]
    found = of(memory_figures.edit_dots(runs(), long(rows)), "name", "panel", "kind", "value")
    assert found == [
        ("gla, canon 4", "own answer", "after erasing", 0.2),
        ("gla, canon 4", "accuracy of others, change", "after an edit", -0.1),
    ]
    assert not [*memory_figures.edit_dots(runs(accuracy_low=0.2), long(rows))]


def test_forgetting():
    """Catches a mark without its reading, which stands beside the first of the shares."""
    rows = [{"metric": "uncovered", "value": 0.4, "reading": "partly"}]
    rows += [{"metric": "trace", "value": 0.3, "reading": None}]
    found = of(memory_figures.forgetting_dots(runs(), long(rows)), "panel", "kind", "low")
    assert found == [("uncovered", "partly", -0.6), ("trace", "partly", pytest.approx(-0.7))]


def test_other_sizes():
    """Catches a floor in the line of other documents, and shorter ones that count as longer."""
    sizes = ("pairs=2", 5), ("as trained", 10), ("pairs=8", 20)
    rows = [
        {"setting": setting, "length": length, "metric": metric, "value": value}
        for setting, length in sizes
        for metric, value in (("accuracy", 0.9), ("floor", 0.5))
    ]
    table = long(rows).assign(low=None, high=None)
    found = of(memory_figures.size_dots(runs(), table), "name", "kind", "value", "low")
    kinds = [kind for _, kind, *_ in found]
    assert kinds[::2] == ["shorter", "as trained", "longer"]
    assert set(kinds[1::2]) == {"best floor"}
    assert found[4] == ("hop_recall, a, pairs=8", "longer", 0.9, 0.9)


def test_tasks_and_their_floors():
    """Catches a run that stands elsewhere, and a floor without the run that it belongs to."""
    both = pd.concat([runs(), runs(task="forgetting_recall")])
    found = of(memory_figures.task_dots(both), "name", "kind", "value", "high")
    name = "hop_recall, a: gla, canon 4"
    assert found == [(name, "no verdict asked", 0.9, 1.0), (name, "best floor", 0.25, 0.25)]


def test_only_figures_of_tables_that_are_there(tmp_path):
    """Catches a traceback in a folder without a table, and a figure that is left out."""
    memory_figures.draw(tmp_path)
    assert not [*tmp_path.iterdir()]
    runs().reset_index().to_csv(tmp_path / memory_figures.RUNS, index=False)
    memory_figures.draw(tmp_path)
    assert [path.name for path in tmp_path.glob("*.svg")] == ["tasks.svg"]
