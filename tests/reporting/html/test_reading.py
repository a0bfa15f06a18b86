"""Run folders are read as they are, or named."""

import pandas as pd
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.reporting.html import reading, report, run_tables
from mecheval_jax.store.left_out import LeftOut
from mecheval_jax.store.run_folder import RunFolder
from tests.support.pages import tables_of
from tests.support.reported_runs import make_run, table_of


def test_a_run_is_what_its_files_hold(tmp_path):
    """Catches the first step for the last, and a history of one step."""
    folder = RunFolder(make_run(tmp_path / "x"))
    run = reading.read(folder, "name")
    assert (run.name, run.steps, run.floors["best"]) == ("name", 200, 0.25)
    assert run.config["evaluation"]["confidence"] == 0.95  # a default that the file lacks
    assert set(run.table["step"]) == {200}
    assert run.history is None
    rows = [table_of().assign(step=step) for step in (100, 200)]
    rows[0].to_csv(folder.interchange, index=False)
    rows[1].to_csv(folder.interchange, index=False, mode="a", header=False)
    run = reading.read(folder, "name")
    assert set(run.table["step"]) == {200}
    assert set(run.history["step"]) == {100, 200}


def test_names_tell_folders_apart(tmp_path):
    """Catches two runs of one name."""
    folders = [RunFolder(tmp_path / path) for path in ("a/run", "b/run")]
    assert reading.names(folders) == ["a/run", "b/run"]
    assert reading.names(folders[:1]) == ["run"]
    assert reading.names([]) == []


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [("direction", "sideways", "sideways"), ("corruption", "../x", "is no role")],
)
def test_a_table_that_names_what_cannot_be(tmp_path, column, value, message):
    """Catches a name of a file that leads out of the folder."""
    folder = RunFolder(make_run(tmp_path / "x"))
    table_of().assign(**{column: value}).to_csv(folder.interchange, index=False)
    with pytest.raises(UserError, match=message):
        reading.read(folder, "x")


@pytest.mark.parametrize("kept", [0, 200, -1])
def test_tables_that_were_cut_off_are_damaged(tmp_path, kept):
    """Catches a report that shows what is left of a table as all of it, or says no remedy."""
    folder = RunFolder(make_run(tmp_path / "x"))
    folder.analyses.mkdir()
    probes = folder.analyses / "probes.csv"
    for path in (folder.interchange, folder.controls, probes):
        table_of().assign(control="placebo").to_csv(path, index=False)
        path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UserError, match=r"interchange\.csv is damaged: .*intervene writes it"):
        reading.read(folder, "x")
    folder.interchange.unlink()
    run = reading.read(folder, "x")
    with pytest.raises(UserError, match=r"controls\.csv is damaged: .*intervene writes it"):
        list(run_tables.of(run))
    with pytest.raises(UserError, match=r"probes\.csv is damaged: .*evaluate writes it"):
        reading.read_analysis(probes)


def test_a_row_without_its_metric_is_damage(tmp_path):
    """Catches a row that is passed over in silence."""
    folder = RunFolder(make_run(tmp_path / "x"))
    table = table_of()
    table.assign(metric=table["metric"].where(table.index > 0)).to_csv(
        folder.interchange, index=False
    )
    with pytest.raises(UserError, match="a row without its metric"):
        reading.read(folder, "x")


def test_of_several_the_damaged_are_left_out(tmp_path):
    """Catches one damaged folder that ends the report of the others."""
    folders = [RunFolder(make_run(tmp_path / name, interchange=False)) for name in "ab"]
    folders[1].summary.write_text("[")
    left_out = LeftOut()
    runs = reading.read_all(folders, left_out)
    assert [run.name for run in runs] == ["a"]
    assert list(left_out) == ["b"]
    with pytest.raises(UserError, match="damaged"):
        reading.read_all(folders[1:], left_out)


def test_roles_that_are_named_with_numbers(tmp_path):
    """Catches a traceback for own documents whose roles are called 1, 2 and 3."""
    folder = make_run(tmp_path / "x")
    names = {"key": "1", "value": "2", "query": "3"}
    table = pd.read_csv(folder / "interchange.csv").replace({"role": names})
    table.to_csv(folder / "interchange.csv", index=False)
    table.assign(control="untrained").to_csv(folder / "controls.csv", index=False)
    (folder / "analyses").mkdir()
    table.assign(mode="mean").to_csv(folder / "analyses" / "attribution_patching.csv", index=False)
    page = report.write([str(folder)])
    shown = tables_of(page.read_text())
    for name in ("attribution_key_restore", "controls"):
        cells = {text for row in shown[name] for _, text in row}
        assert {"1", "2", "3"} <= cells, name
