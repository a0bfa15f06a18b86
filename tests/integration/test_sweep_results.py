"""`tools.sweep_results`: members of a sweep as a table, its arms as lines of a page."""

import json

import pandas as pd
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.files import read_json, write_json
from mecheval_jax.study.results import finished_members
from tests.support.compilation import ROOT
from tests.support.pages import check_written
from tests.support.sweep_results import fill_members, make_sweep
from tools.sweep_results import (
    COLUMNS,
    draw,
    lines_of,
    marks_of,
    merged,
    put,
    row_of_run,
    rows_of,
)

TABLES = sorted((ROOT / "docs" / "results" / "sweeps").glob("*.csv"))


def test_members_become_lines(tmp_path):
    """Catches a rate that was chosen by test documents, seeds that change places, a member that is
    not evaluated yet, and a place of binding that is told where there is none."""
    found = {"based": {(1e-3, 0): 0.9, (1e-3, 1): 0.8, (1e-2, 0): 0.95}, "mamba": {(1e-3, 0): 0.5}}
    sweep = make_sweep(tmp_path / "sweep", found, unfinished=("mamba",))
    fill_members(sweep, {0: 0.9, 1: 0.8, 2: 0.95})
    group = sweep.group(sweep.read()["groups"][0]["name"])
    best = {"step": 1, "split": "dev", "accuracy": 0.9}
    (group.member(0) / "metrics.jsonl").write_text(json.dumps(best) + "\n")
    summary = read_json(group.member(1) / "summary.json") | {"binding": "convolution_at_value+2"}
    write_json(group.member(1) / "summary.json", summary)
    table = pd.DataFrame(list(rows_of(sweep.path)), columns=list(COLUMNS))
    assert list(table["dev_accuracy"]) == [0.9, 0.7, 0.7]
    *_, line, end = lines_of(table)
    assert not end
    assert line == (
        "| `based` | 0.001 | 90.0 % [80.0, 100.0] after 1: `induction`, layer 1 "
        "| 80.0 % [70.0, 100.0] after 1: `induction`, layer 1, at value+2 |"
    )
    # Members that diverged before an evaluation have no accuracy to choose by.
    *_, line, end = lines_of(table.assign(dev_accuracy=float("nan")))
    assert line.startswith("| `based` | 0.001 |")


def test_tables_of_several_machines_add_up(tmp_path):
    """Catches a table that loses what another machine has trained, and a member in it twice."""
    both, one = {(1e-3, 0): 0.9, (1e-3, 1): 0.8}, {(1e-3, 0): 0.7}
    path, found = tmp_path / "table.csv", []
    for name, accuracies in (("first", {"based": both}), ("second", {"mamba": one})):
        sweep = make_sweep(tmp_path / name, accuracies)
        fill_members(sweep, dict(enumerate(next(iter(accuracies.values())).values())))
        rows = merged(path, pd.DataFrame(list(rows_of(sweep.path)), columns=list(COLUMNS)))
        rows.to_csv(path, index=False)
        found.append(list(rows["accuracy"]))
    assert found == [[0.9, 0.8], [0.9, 0.8, 0.7]]
    again = pd.read_csv(path).iloc[:1].assign(accuracy=0.5)
    assert sorted(merged(path, again)["accuracy"]) == [0.5, 0.7, 0.8]


@pytest.mark.parametrize("table", TABLES, ids=lambda path: path.stem)
def test_the_page_has_the_tables(table, tmp_path):
    """Catches numbers that were changed by hand, and a table that nobody put into the page."""
    check_written(
        tmp_path,
        "docs/experiments.md",
        [table.relative_to(ROOT)],
        lambda folder: put(folder, [table.stem]),
    )


@pytest.mark.parametrize("table", TABLES, ids=lambda path: path.stem)
def test_the_table_has_its_figure(table, tmp_path):
    """Catches a figure that was not drawn anew, and one that the page does not show."""
    begin, _ = marks_of(table.stem)
    page = (ROOT / "docs" / "experiments.md").read_text()
    assert f"](results/sweeps/{table.stem}.svg)\n\n{begin}" in page
    (tmp_path / table.relative_to(ROOT)).parent.mkdir(parents=True)
    (tmp_path / table.relative_to(ROOT)).write_bytes(table.read_bytes())
    draw(tmp_path, [table.stem])
    drawn = (tmp_path / table.relative_to(ROOT)).with_suffix(".svg")
    assert drawn.read_bytes() == table.with_suffix(".svg").read_bytes()


def test_a_run_by_itself_is_a_row(tmp_path):
    """Catches a run that stands on a page and in no table, and an arm that is no object."""
    sweep = make_sweep(tmp_path / "sweep", {"based": {(1e-3, 0): 0.9}})
    fill_members(sweep, {0: 0.9})
    _, run, experiment, _ = next(finished_members(str(sweep.path)))
    run.write_config(experiment)
    (row,) = rows_of(str(sweep.path))
    found = row_of_run(str(run.path), '{"first_weights": "numpy"}')
    assert found == row | {"arm": '{"first_weights": "numpy"}'}
    for wrong in ("{", "[1]"):
        with pytest.raises(UserError, match="an object of JSON"):
            row_of_run(str(run.path), wrong)
