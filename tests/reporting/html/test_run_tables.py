"""The tables of a run hold what its files do."""

import json

import pandas as pd
import pytest

from mecheval_jax.reporting.html import reading, run_tables
from mecheval_jax.store.run_folder import RunFolder
from tests.support.reported_runs import TRAINING, VALUES, attribution_rows, make_run, table_of


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    folder = RunFolder(make_run(tmp_path_factory.mktemp("run") / "x", over_training=TRAINING))
    rows = [row | {"control": "untrained", "run": "x"} for row in attribution_rows()]
    pd.DataFrame(rows).to_csv(folder.controls, index=False)
    return {table.name: table for table in run_tables.of(reading.read(folder, "x"))}


def test_only_what_is_there(tables):
    """Catches a table of nothing."""
    assert list(tables) == [
        "accuracy", "evidence", "probabilities", "transitions", "steps", "controls",
    ]  # fmt: skip


def test_the_model_stands_above_the_floors(tables):
    """Catches a floor before the model, ``best`` as one more floor, and unsorted floors."""
    shares = [row["accuracy"] for row in tables["accuracy"].rows]
    assert shares == [0.912, 0.25, 0.234, 0.2, 0.125, 0.125]
    assert tables["accuracy"].rows[0]["accuracy_low"] == 0.853


def test_every_heuristic_has_its_kind(tmp_path):
    """Catches chance left out, and what is recall in a task shown as a heuristic without it."""
    shares = {"first": 0.21, "first_bound": 0.43, "in_document": 0.19, "best": 0.21}
    folder = make_run(tmp_path / "x", interchange=False, floors=shares)
    config = json.loads((folder / "config.json").read_text())
    config["task"] |= {"name": "forgetting_recall"}
    (folder / "config.json").write_text(json.dumps(config))
    found = run_tables.floors(reading.read(RunFolder(folder), "x")).texts()
    assert found[["heuristic", "kind", "accuracy"]].to_numpy().tolist() == [
        ["first", "positional", "21.0%"],
        ["in_document", "statistical", "19.0%"],
        ["chance", "-", "12.5%"],
        ["first_bound", "recall-like", "43.0%"],  # better, and not counted
    ]


def test_numbers_are_whole(tables):
    """Catches digits that are lost on the way, and a control of another metric."""
    found = {(row["site"], row["role"]): row["attribution"] for row in tables["evidence"].rows}
    assert found == VALUES
    assert len(tables["controls"].rows) == len(VALUES)
    assert tables["steps"].texts().iloc[1].tolist() == ["200", "91.2%", "induction", "1", "87.4%"]


def test_whole_numbers_have_all_their_digits():
    """Catches seeds and steps that are rounded, so that those of two runs look the same."""
    numbers = (12345, 12346.0, 4_294_967_295, 100_000, 0, -3)
    shown = [run_tables.plain(number) for number in numbers]
    assert shown == ["12345", "12346", "4294967295", "100000", "0", "-3"]
    assert [run_tables.plain(rate) for rate in (3e-4, 0.00123456, 1e-5)] == [
        "0.0003", "0.001235", "1e-05",
    ]  # fmt: skip
    assert run_tables.plain(float("nan")) == run_tables.plain(None) == "-"


def test_the_first_probability_is_that_of_the_verdict(tmp_path):
    """Catches another verdict in the row that a page shows as the run's own."""
    shares = {"induction": 0.6, "mixed": 0.4, "undecided": 0.0, "not_learned": 0.0}
    folder = make_run(tmp_path / "x", "undecided")
    summary = json.loads((folder / "summary.json").read_text()) | {"probabilities": shares}
    (folder / "summary.json").write_text(json.dumps(summary))
    found = {table.name: table for table in run_tables.of(reading.read(RunFolder(folder), "x"))}
    assert found["probabilities"].texts().to_numpy().tolist() == [
        ["undecided", "0.0%"], ["induction", "60.0%"], ["mixed", "40.0%"],
    ]  # fmt: skip


def test_grids(tables):
    """Catches rows of one corruption in the grid of another, and a star that is lost."""
    rows = [table_of(), table_of(dict.fromkeys(VALUES, 0.4), corruption="value")]
    table = pd.concat(rows).assign(significant=[True] + [False] * (4 * len(VALUES) - 1))
    first, second = run_tables.grids(table)
    assert (first.corruption, second.corruption) == ("key", "value")
    assert first.table.name == "attribution_key_restore"
    texts = first.table.texts()
    assert texts.iloc[0].tolist() == [
        "block_0/block_output", "0.11* [0.06, 0.16]", "0.87 [0.82, 0.92]", "0.00 [-0.05, 0.05]",
    ]  # fmt: skip
    assert set(second.table.frame()["key"]) == {0.4}
