"""`tools.memory_results`: what was found about memory, as tables and lines of a page."""

import pandas as pd
import pytest

from configs import linear_memories
from mecheval_jax.sweeps.plan import plan_of
from tests.support.compilation import ROOT
from tests.support.pages import check_written
from tests.support.sweep_results import fill_members, make_sweep
from tools import memory_results
from tools.memory_results import FOLDER
from tools.sweep_results import members_of

PLACE = {"layer": 1, "component": "mixer/write"}


def long(rows, **shared):
    """Rows of an analysis; the interval is 1 to either side."""
    ends = [row | {"low": row["value"] - 1, "high": row["value"] + 1} for row in rows]
    return pd.DataFrame([{"run": "a"} | shared | row for row in ends])


def runs(**changed):
    """One run's summary."""
    row = {"run": "a", "task": "hop_recall", "mixer": "gla", "canon": 4, "layers": 2, "seed": 3}
    row |= {"accuracy": 0.9, "accuracy_low": 0.8, "accuracy_high": 1.0, "floor": 0.25}
    row |= {"step": 1500, "verdict": None}
    return pd.DataFrame([row | changed]).set_index("run")


def test_members_are_added_under_their_names(tmp_path):
    """Catches a run that is there twice, a metric that is lost, and one that is not kept."""
    sweep = make_sweep(tmp_path / "sweep", {"gla": {(1e-3, 0): 0.9, (1e-3, 1): 0.2}})
    fill_members(sweep, {0: 0.9, 1: 0.2})
    folder = tmp_path / FOLDER
    both = plan_of(sweep.read(), sweep.sweep).groups[0].experiments, "ab"
    for values in ({"a": 1.0, "b": 2.0}, {"b": 3.0}):
        for (run, _), experiment, name in zip(members_of(sweep.path), *both, strict=True):
            if name in values:
                run.analyses.mkdir(exist_ok=True)
                rows = [
                    {"metric": m, "value": values[name]} for m in ("threshold", "recall", "fit")
                ]
                long(rows).to_csv(run.analyses / "capacity.csv", index=False)
                memory_results.add(tmp_path, name, run, experiment)
    table = pd.read_csv(folder / "capacity.csv")
    assert list(table["run"]) == ["a", "a", "b", "b"]
    assert list(table["value"]) == [1.0, 1.0, 3.0, 3.0]
    assert list(pd.read_csv(folder / "runs.csv")["accuracy"]) == [0.9, 0.2]
    assert not (folder / "editing.csv").exists()
    # What a new run was not asked for does not stay of the one before.
    (run.analyses / "capacity.csv").unlink()
    memory_results.add(tmp_path, name, run, experiment)
    assert list(pd.read_csv(folder / "capacity.csv")["run"]) == ["a", "a"]


def test_lines_of_tasks():
    """Catches a run of a task that has a table of its own, and a name that is said twice."""
    table = pd.concat([runs(), runs(task="forgetting_recall"), runs(task="state_tracking")])
    table.index = ["hop_recall", "b", "S3"]
    _, hops, words = memory_results.task_lines(table)
    assert hops == [
        "hop_recall",
        "2 x `gla`, canon 4",
        "90.0 % [80.0, 100.0]",
        "25.0 %",
        "1,500",
        "",
    ]
    assert words[0] == "state_tracking, S3"


def test_lines_of_forgetting():
    """Catches values of another metric."""
    rows = [{"metric": m, "value": v} for m, v in zip("tur", (1, 2, 3), strict=True)]
    names = {"t": "trace", "u": "uncovered", "r": "recovered"}
    rows = [row | {"metric": names[row["metric"]], "reading": "partly"} for row in rows]
    _, line = memory_results.forgetting_lines(runs(verdict="induction"), long(rows, **PLACE))
    assert line[-5:] == [
        "2.00 [1.00, 3.00]",
        "3.00 [2.00, 4.00]",
        "1.00 [0.00, 2.00]",
        "partly, layer 1",
        "`induction`",
    ]


def test_lines_of_editing():
    """Catches an effect of another operation or on another pair, and an error that is made up."""
    values = {("edit", "edited", "new_answer"): 0.9, ("edit", "others", "change"): -0.1}
    values |= {("edit", "edited", "accuracy"): 0.05, ("edit", "donor", "change"): -0.2}
    values |= {("erase", "edited", "accuracy"): 0.2, ("erase", "others", "change"): -0.3}
    values |= {("none", "edited", "read"): 0.8, ("none", "edited", "closed_form_error"): 2e-7}
    rows = [
        dict(zip(("operation", "question", "metric"), place, strict=True), value=value)
        for place, value in values.items()
    ]
    felt = {"operation": "edit", "question": "others", "metric": "interference"}
    rows += [felt | {"cosine": c, "value": -c} for c in (-0.5, 0.4, 0.1)]
    _, line = memory_results.editing_lines(runs(), long(rows, **PLACE))
    numbers = [cell.split()[0] for cell in line[3:]]
    assert numbers == ["80", "5.0", "90.0", "-20.0", "-10.0", "20.0", "-30.0", "2e-07"]
    (_, line) = memory_results.interference_lines(runs(), long(rows, **PLACE))
    assert [cell.split()[0] for cell in line[1:]] == ["+50.0", "-10.0", "-40.0"]
    assert line[1].endswith("at -0.50")
    untaught = runs(accuracy=0.3, accuracy_low=0.2)
    _, line = memory_results.editing_lines(untaught, long(rows, **PLACE))
    assert line[1:] == ["30.0 %, not learned", *["-"] * 9]


def test_lines_of_the_parts_of_hybrids():
    """Catches ablations in another order than the page names, and runs that do not recall."""
    rows = [
        {"component": part, "where": place, "ablation": way, "metric": "kept", "value": value}
        for part in ("attention", "layer 0 (Mamba)")
        for place, first in (("everywhere", 0.1), ("pair", 0.4))
        for way, value in zip(("resample", "zero", "mean"), (first, 2 * first, 0.5), strict=True)
    ]
    (_, line) = memory_results.components_lines(runs(mixer="a,b", canon=0), long(rows))
    assert line == ["`a,b`", "3", "attention", "0.20 / 0.50 / 0.10", "0.80 / 0.50 / 0.40"]
    untaught = runs(accuracy_low=0.2)
    assert len(list(memory_results.components_lines(untaught, long(rows)))) == 1


def test_lines_of_other_sizes():
    """Catches the floor of another setting beside an accuracy."""
    rows = [
        {"setting": name, "length": length, "metric": metric, "value": value}
        for name, length, accuracy, floor in (
            ("as trained", 10, 0.9, 0.5),
            ("pairs=8", 20, 0.6, 0.25),
        )
        for metric, value in (("accuracy", accuracy), ("floor", floor))
    ]
    _, trained, other = memory_results.generalization_lines(runs(), long(rows))
    assert [trained[2], trained[3], trained[5]] == ["as trained", "10", "50.0 %"]
    assert [other[2], other[3], other[5]] == ["pairs=8", "20", "25.0 %"]
    assert other[4].startswith("60.0 %")


@pytest.mark.parametrize("question", memory_results.BOUNDS)
def test_others_stay_within_the_bounds_that_the_page_states(question):
    """Catches pairs that lose more by an edit or an erasure than is said, and a mixer left out."""
    folder = ROOT / FOLDER
    runs_of = pd.read_csv(folder / "runs.csv").set_index("run")
    found = pd.read_csv(folder / "editing.csv")
    found = found[(found["question"] == question) & (found["metric"] == "change")]
    arms = {arm["model.mixer"] for arm in linear_memories.sweep()}
    assert set(found["mixer"]) == arms
    assert (runs_of.loc[found["run"], "accuracy_low"] > runs_of.loc[found["run"], "floor"]).all()
    bound, others = memory_results.BOUNDS[question]
    for row in found.itertuples():
        assert row.low >= -others.get(row.mixer, bound), (row.mixer, row.operation)


def test_the_page_has_the_tables(tmp_path):
    """Catches numbers that were changed by hand."""
    tables = [path.relative_to(ROOT) for path in (ROOT / FOLDER).glob("*.csv")]
    check_written(tmp_path, "docs/experiments.md", tables, memory_results.put)
