"""What is said of one run is what its files hold, and what they lack."""

import itertools
import json

import pandas as pd
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.reporting.html import report, sections
from mecheval_jax.reporting.html.reading import read
from mecheval_jax.reporting.html.sections import asked, question
from mecheval_jax.store.run_folder import RunFolder
from mecheval_jax.tasks.example import Example, ExampleQuestion
from tests.support.pages import tables_of, words_of
from tests.support.reported_runs import TRAINING, VALUES, make_run, table_of


def test_report_over_training(tmp_path):
    """Catches rows of an earlier step shown as the run's, and a transition without its interval."""
    folder = make_run(tmp_path / "x", over_training=TRAINING)
    early = table_of(dict.fromkeys(VALUES, 0.444)).assign(step=100)
    pd.concat([early, table_of()]).to_csv(folder / "interchange.csv", index=False)
    html = report.write([str(folder)]).read_text()
    text = words_of(html)
    assert "not_learned induction 200 100 -" in text  # an open end
    assert "100 26.0% not_learned - 93.0%" in text
    assert "200 91.2% induction 1 87.4%" in text
    assert "0.44" not in text
    assert "another step" not in text
    assert (folder / "figures" / "attribution_over_steps.svg").exists()


def test_a_grid_without_numbers_is_one_sentence(tmp_path):
    """Catches a screen of dashes, and a grid with numbers that is lost beside it."""
    folder = make_run(tmp_path / "one")
    empty = table_of(corruption="query").assign(value=float("nan"))
    pd.concat([table_of(), empty]).to_csv(folder / "interchange.csv", index=False)
    text = words_of(report.write([str(folder)]).read_text())
    assert text.count("Attribution, query corrupted, restore") == 1
    assert "Attribution, query corrupted, restore: no number anywhere" in text
    assert "Attribution, key corrupted, restore: no number" not in text
    assert text.index("a star where it differs") < text.index("Attribution, key corrupted, restore")


def test_stars_are_not_explained_where_no_grid_has_numbers(tmp_path):
    """Catches a legend of numbers that the page does not have."""
    folder = make_run(tmp_path / "one")
    empty = table_of(corruption="query").assign(value=float("nan"))
    empty.to_csv(folder / "interchange.csv", index=False)
    text = words_of(report.write([str(folder)]).read_text())
    assert "Attribution, query corrupted, restore: no number anywhere" in text
    assert "a star where it differs from 0" not in text


def test_report_shows_slices(tmp_path):
    """Catches slices that are left out, or a bin that is shown as one number."""
    folder = make_run(tmp_path / "run", interchange=False)
    (folder / "slices.csv").write_text(
        "property,low_value,high_value,accuracy,low,high,queries\n"
        "pairs,4,4,0.75,0.5,0.875,16\ndistance,8,15,0.25,0.125,0.5,24\n"
    )
    html = report.write([str(folder)]).read_text()
    rows = [[text for _, text in row] for row in tables_of(html)["slices"][1:]]
    assert rows == [
        ["pairs", "4", "75.0% [50.0%, 87.5%]", "16"],
        ["distance", "8 to 15", "25.0% [12.5%, 50.0%]", "24"],
    ]


def test_what_is_missing_is_named_with_its_command(tmp_path):
    folder = make_run(tmp_path / "x", interchange=False)
    html = report.write([str(folder)]).read_text()
    assert "No verdict on this run yet." in html
    assert f"python -m launch.intervene --workdir={folder}" in html
    assert "91.2%" in html
    (folder / "summary.json").unlink()
    (folder / "metrics.jsonl").unlink()
    (folder / "provenance.json").unlink()
    html = report.write([str(folder)]).read_text()
    assert "Training is not finished: step 0 of 200." in html
    assert f"python -m launch.train --config=CONFIG --workdir={folder}" in html


def test_what_was_asked_is_that_of_the_first_run_that_can_be_read(tmp_path):
    """Catches a page that ends at a damaged run, or shows nothing where nothing was intervened."""
    broken = make_run(tmp_path / "broken")
    (broken / "config.json").write_text("{")
    whole = make_run(tmp_path / "whole", interchange=False)
    found = question(map(RunFolder, (tmp_path / "none", broken, whole)), tmp_path)
    assert found is not None
    assert (found["name"], found["chance"]) == ("whole", 0.125)
    assert "asked" in found["documents"]
    assert found["questions"]
    written = pd.read_csv(tmp_path / "tables" / "floors.csv")
    assert set(written["heuristic"]) == {"chance", "uniform", "in_document", "first", "last"}
    assert question([RunFolder(broken)], tmp_path) is None


def test_a_verdict_of_another_step_is_not_passed_off_as_this_one(tmp_path):
    folder = make_run(tmp_path / "x")
    (folder / "metrics.jsonl").unlink()
    table_of().assign(step=150).to_csv(folder / "interchange.csv", index=False)
    assert "another step than interchange.csv" in report.write([str(folder)]).read_text()


def test_the_document_that_a_run_keeps_is_shown(tmp_path, monkeypatch):
    """Catches documents that are drawn anew for every page, and a page that needs the kept one."""
    folder = RunFolder(make_run(tmp_path / "run", interchange=False))
    drawn = asked(read(folder, "run"))["documents"]["asked"]
    sections._first.cache_clear()
    folder.write_example(
        Example(("a", "<b>"), {1: ("query",)}, (ExampleQuestion(0, 1, "<b>", "c"),))
    )
    monkeypatch.setattr(sections, "evaluation_batch", None)
    kept = asked(read(folder, "run"))
    assert [token.word for token in kept["documents"]["asked"].tokens] == ["a", "<b>"]
    assert kept["questions"][0].answer == "c"
    monkeypatch.undo()
    folder.example.write_text("{")
    assert asked(read(folder, "run"))["documents"]["asked"] == drawn


def test_a_damaged_figure_of_the_first_of_many_runs(tmp_path, monkeypatch):
    """Catches a page of many runs that ends in a traceback where the first lacks its example."""
    monkeypatch.setattr(report, "WHOLE_RUNS", 1)
    folders = [make_run(tmp_path / name) for name in ("first", "second")]
    (folders[0] / "analyses").mkdir(exist_ok=True)
    (folders[0] / "analyses" / "attention.csv").write_text("token\n\0")
    text = words_of(report.write([str(folder) for folder in folders]).read_text())
    assert "attention.csv is damaged" in text


@pytest.mark.parametrize("name", ["components", "generalization", "subspaces"])
def test_a_table_of_an_analysis_without_its_rows(name, tmp_path):
    """Catches a traceback of a figure that is drawn from nothing, or from columns of numbers."""
    folder = RunFolder(make_run(tmp_path / "run"))
    folder.analyses.mkdir(exist_ok=True)
    columns = "setting,subspace,component,where,ablation,metric,value,low,high,step,site,role"
    for rows in ("", "," * columns.count(",") + "\n"):
        (folder.analyses / f"{name}.csv").write_text(f"{columns}\n{rows}")
        if name == "generalization" and not rows:  # axes without a line
            assert len(list(sections.analyses(read(folder, "run"), "x", [name]))) == 1
            continue
        with pytest.raises(UserError, match=rf"{name}\.csv is damaged: .*launch\.evaluate"):
            list(sections.analyses(read(folder, "run"), "x", [name]))


def test_the_end_of_a_run_is_where_it_stopped(tmp_path):
    """Catches a run that reached its target accuracy said to be judged before its end."""
    folder = make_run(tmp_path / "x", step=150)
    found = json.loads((folder / "summary.json").read_text()) | {"evidence_step": 150}
    table_of().assign(step=150).to_csv(folder / "interchange.csv", index=False)
    (folder / "summary.json").write_text(json.dumps(found))
    assert "before the end" not in words_of(report.write([str(folder)]).read_text())
    (folder / "summary.json").write_text(json.dumps(found | {"step": 180}))
    text = words_of(report.write([str(folder)]).read_text())
    assert "The verdict is of step 150 of 180, before the end of training." in text


def test_a_role_that_is_called_na_is_drawn(tmp_path):
    """Catches a name that pandas takes for a missing value."""
    folder = make_run(tmp_path / "x")
    (folder / "analyses").mkdir()
    cells = itertools.product(("exact", "eap"), ("key", "NA"), ("block_0", "block_1"))
    place = {"corruption": "key", "direction": "restore"}
    rows = [
        place | {"method": method, "role": role, "site": f"{block}/block_input", "value": 0.3}
        for method, role, block in cells
    ]
    correlation = {"method": "eap", "metric": "rank_correlation", "value": 0.5}
    tables = {"gradients": rows, "gradients_agreement": [place | correlation]}
    for name, table in tables.items():
        pd.DataFrame(table).to_csv(folder / "analyses" / f"{name}.csv", index=False)
    ((_, svg),) = sections.analyses(read(RunFolder(folder), "x"), "p")
    assert "@NA" in svg
    assert "@nan" not in svg
