"""A report needs nothing outside itself, says what was found, and compares runs."""

import json
import os
import re
import shutil
import subprocess
import sys

import pandas as pd
import pytest
from markupsafe import Markup

from mecheval_jax.errors import UserError
from mecheval_jax.files import read_table
from mecheval_jax.reporting.html import chosen, report, sweep_report
from mecheval_jax.reporting.html import page as page_maker
from tests.support.choices import add_choice
from tests.support.compilation import ROOT
from tests.support.pages import tables_of, words_of
from tests.support.reported_runs import CONFIG, make_run, table_of
from tests.support.sweep_results import ATTENTION, MAMBA, make_sweep


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = make_run(tmp_path_factory.mktemp("runs") / "one")
    path = report.write([str(folder)])
    assert path == folder / "report.html"
    return path


def test_report_needs_nothing_outside_itself(page):
    html = page.read_text()
    assert "http:" not in html
    assert "https:" not in html
    assert not re.findall(r"<(?:script src|link|img|iframe|object)\b|@import", html)
    references = re.findall(r'(?:href|src)="([^"]*)"|url\(([^)]*)\)', html)
    assert references
    ids = re.findall(r'\bid="([^"]*)"', html)
    assert len(ids) == len(set(ids))  # one figure's glyphs must not stand in for another's
    outside = {a or b for a, b in references if not (a or b).startswith("data:image/png;base64,")}
    assert {reference.removeprefix("#") for reference in outside} <= set(ids)


def test_report_says_what_was_found(page):
    html = page.read_text()
    text = words_of(html)
    verdict = text.index("recalls by induction")
    assert verdict < text.index("this model 91.2%") < text.index("What the verdict rests on")
    for number in ("12.5%", "25.0%", "23.4%", "20.0%", "0.667", "[0.88, 0.98]", "1.37"):
        assert number in text
    assert "python -m launch.train --config=configs/recall.py:width=16 '--workdir=a b'" in text
    assert "abc123" in text
    assert "training.learning_rate" in text
    assert html.count("<svg") == 1
    assert "no number" in text  # how to read the hatched cell
    # Controls beside the reading, and the probability of each verdict.
    assert "0.93 [0.88, 0.98] restores 0.04 -0.06" in text
    assert "0.02 [-0.03, 0.07] negligible - 0.01" in text
    assert "takes 0.02 [-0.02, 0.06] of what the pair" in text
    assert "induction 87.4% mixed 12.6%" in text
    assert "One vector of a convolution, at the value, holds the pair." in text
    assert "Changes of the verdict" not in text


@pytest.mark.parametrize(
    ("binding", "words"),
    [
        ("convolution_at_value+2", "convolution, 2 tokens behind the value, holds the pair."),
        (
            "convolution_at_pair+1",
            "convolution, 1 token behind the pair's later token, holds the pair.",
        ),
        ("convolution_at_pair+0", "convolution, at the pair's later token, holds the pair."),
        ("convolution_at_pair", "at several tokens of the pair hold it together."),
        ("undecided", "is not clear."),
        (None, ""),
    ],
)
def test_every_binding_has_a_sentence(binding, words):
    """Catches a place of binding that the verdict knows and the page does not."""
    said = str(page_maker._environment().get_template("run.html.jinja").module.bound(binding))
    assert said.strip().endswith(words)
    assert bool(said.strip()) == bool(words)


def test_report_leaves_figures_in_two_formats(page):
    for name in ("accuracy", "attribution_key_restore"):
        assert (page.parent / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "<svg" in (page.parent / "figures" / f"{name}.svg").read_text()


def test_several_runs_are_compared(tmp_path, capsys):
    one, two = make_run(tmp_path / "a" / "run"), make_run(tmp_path / "b" / "run", "mixed")
    bare = make_run(tmp_path / "c", interchange=False)
    path = report.write([str(f) for f in (one, two, bare, one)], str(tmp_path / "out" / "here"))
    assert path == tmp_path / "out" / "here" / "report.html"
    html = path.read_text()
    assert (
        html.index("3 runs compared") < html.index("<h2>a/run</h2>") < html.index("<h2>b/run</h2>")
    )
    assert (
        "Not drawn, for want of a number at the input of layer 1 (nothing was put in there" in html
    )
    assert (path.parent / "figures" / "comparison_layer_1.svg").exists()
    ids = re.findall(r'\bid="([^"]*)"', html)
    assert len(ids) == len(set(ids))
    printed = capsys.readouterr()
    assert re.search(
        r"b/run +attention +16 +91.2% \[85.3%, 95.7%\] +25.0% +0.93 +-0.13 +0.02 +mixed",
        printed.out,
    )
    assert f"report: {path}" in printed.err


def test_numbers_are_those_of_the_tables(page):
    """Catches a number that page and file round, order or leave out differently."""
    shown = tables_of(page.read_text())
    for path in sorted((page.parent / "tables").glob("*.csv")):
        head, *rows = shown[path.stem]
        written = read_table(path, dtype=str, keep_default_na=False)
        columns = [name for name in written if not name.endswith(("_low", "_high"))]
        assert len(rows) == len(written)
        assert len(head) - ("share" in [text for _, text in head]) == len(columns)
        for row, values in zip(rows, written[columns].to_numpy(), strict=True):
            for (number, text), value in zip(row, values, strict=False):
                if number is None:
                    assert text == (value or "-")
                else:
                    assert float(number) == float(value)
    assert {"accuracy", "evidence", "attribution_key_restore"} <= set(shown)


def test_folders_of_different_tasks_and_damaged_ones(tmp_path, capsys):
    """Catches runs that are counted over tasks, and a damaged folder that ends the others."""
    folders = [make_run(tmp_path / name) for name in ("a", "b", "c", "broken")]
    other = CONFIG | {"task": CONFIG["task"] | {"pairs": 3}}
    (folders[2] / "config.json").write_text(json.dumps(other))
    (folders[3] / "summary.json").write_text("{")
    html = report.write([str(one) for one in folders], str(tmp_path / "out")).read_text()
    words = words_of(html)
    assert "These runs have 2 different tasks" in words
    assert "1 thing is left out" in words
    assert "broken: " in words
    shown = tables_of(html)
    assert [row[0][1] for row in shown["comparison0_runs"][1:]] == ["a", "b"]
    assert [row[0][1] for row in shown["comparison1_runs"][1:]] == ["c"]
    assert "left out: " in capsys.readouterr().err
    with pytest.raises(UserError, match="no run that can be reported"):
        report.write([str(folders[3]), str(tmp_path)], str(tmp_path / "out"))


def test_several_runs_without_anything_to_scatter(tmp_path):
    """Catches a comparison that needs an attribution, which runs that learned nothing lack."""
    folders = [make_run(tmp_path / name, interchange=False) for name in ("a", "b")]
    (folders[1] / "metrics.jsonl").unlink()
    (folders[0] / "metrics.jsonl").unlink()
    html = report.write([str(folder) for folder in folders], str(tmp_path / "out")).read_text()
    assert "2 runs compared" in html


MEASURED = """
import resource, sys, time
from mecheval_jax.reporting.html import chosen, report, sweep_report
from mecheval_jax.reporting.html import page as page_maker
begun = time.process_time()
path = report.write(sys.argv[2:], sys.argv[1])
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print(time.process_time() - begun, peak, path.stat().st_size / 2**20)
"""


@pytest.mark.slow
def test_a_report_of_200_runs(tmp_path):
    """Catches figures that are drawn for each of many runs, and a page that no browser likes.

    Under 60 seconds of one core, 2 GiB and 5 MiB.
    """
    places = [(f"block_{layer}/{part}", role) for layer in range(4)
              for part in ("block_input", "mixer_output", "mlp_output", "block_output")
              for role in ("key", "value", "next_key", "divider", "query")]  # fmt: skip
    pairs = [(c, d) for c in ("key", "value") for d in ("restore", "damage")]
    whole = pd.concat(
        table_of({place: i / 80 for i, place in enumerate(places)}, corruption=c, direction=d)
        for c, d in pairs
    )
    folders = [make_run(tmp_path / f"run_{number:03d}") for number in range(200)]
    for folder in folders:
        whole.to_csv(folder / "interchange.csv", index=False)
    arguments = ["-c", MEASURED, str(tmp_path / "out"), *map(str, folders)]
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, check=True)
    seconds, gibibytes, mebibytes = map(float, done.stdout.split()[-3:])
    assert seconds < 60
    assert gibibytes < 2
    assert mebibytes < 5


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("config.json", None, "holds no run"),
        ("config.json", "{", "damaged"),
        ("interchange.csv", "", "damaged"),
        ("interchange.csv", "run,site\na,b\n", "lacks the column"),
        ("summary.json", "{", "damaged"),
    ],
)
def test_damage_is_a_user_error(tmp_path, name, text, message):
    folder = make_run(tmp_path / "x")
    (folder / name).unlink()
    if text is not None:
        (folder / name).write_text(text)
    with pytest.raises(UserError, match=message):
        report.write([str(folder)])


@pytest.mark.parametrize("column", ["step", "corruption", "direction", "component", "site", "role"])
def test_a_cell_that_is_empty_is_damage(tmp_path, column):
    """Catches one emptied cell that ends the page of several runs in a traceback."""
    folders = [make_run(tmp_path / run) for run in ("good", "bad")]
    table = pd.read_csv(folders[1] / "interchange.csv", keep_default_na=False)
    table[column] = table[column].astype(object)
    table.loc[0, column] = ""
    table.to_csv(folders[1] / "interchange.csv", index=False)
    with pytest.raises(UserError, match=rf"interchange.csv is damaged.*a row without its {column}"):
        report.write([str(folders[1])])
    words = words_of(report.write([str(one) for one in folders], str(tmp_path / "out")).read_text())
    assert "1 thing is left out" in words


def test_names_that_are_no_unicode(tmp_path):
    """Catches a traceback after all the work, for a folder that another system has named."""
    folder = make_run(tmp_path / os.fsdecode(b"run\xff"))
    assert "run\\udcff" in report.write([str(folder)]).read_text()


def test_a_file_in_the_place_of_a_folder(tmp_path):
    """Catches a traceback where a run has a file called tables."""
    folder = make_run(tmp_path / "x")
    shutil.rmtree(folder / "tables", ignore_errors=True)
    (folder / "tables").touch()
    with pytest.raises(UserError, match="tables cannot be made"):
        report.write([str(folder)])


def test_a_verdict_without_its_layer(tmp_path):
    """Catches a sentence about layer None."""
    folder = make_run(tmp_path / "x")
    summary = json.loads((folder / "summary.json").read_text()) | {"layer": None}
    (folder / "summary.json").write_text(json.dumps(summary))
    page = report.write([str(folder)]).read_text()
    assert "layer None" not in page
    assert "a layer looks it up" in words_of(page)


@pytest.mark.parametrize("name", ["slices.csv", "controls.csv", "analyses/attention.csv"])
def test_of_several_runs_a_damaged_table_leaves_one_out(tmp_path, name):
    """Catches a table that ends the page when it is drawn, where it could be read before."""
    folders = [make_run(tmp_path / run) for run in ("good", "bad")]
    (folders[1] / name).parent.mkdir(exist_ok=True)
    (folders[1] / name).write_text("x\n")
    words = words_of(report.write([str(one) for one in folders], str(tmp_path / "out")).read_text())
    assert "1 thing is left out" in words
    assert f"{name.rpartition('/')[2]} is damaged" in words
    assert "1 run compared" in words
    assert "recalls by induction" in words


def test_a_damaged_sweep_beside_runs(tmp_path):
    """Catches a sweep that ends the report of the runs beside it."""
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "sweep.json").write_text("{")
    folders = [make_run(tmp_path / "a"), make_run(tmp_path / "b"), tmp_path / "sweep"]
    for given in (folders, folders[1:]):
        html = report.write([str(one) for one in given], str(tmp_path / "out")).read_text()
        assert "sweep.json is damaged" in words_of(html)
        assert "recalls by induction" in words_of(html)
    with pytest.raises(UserError, match="damaged"):
        report.write([str(folders[2])])


SWEEP = {"attention": {(1e-2, 0): 0.9, (1e-2, 1): 0.2}, "mamba": {(1e-2, 0): 0.6}}
OF_GROUP, OF_MEMBER = f"groups/{ATTENTION}", f"groups/{ATTENTION}/members/0000"
DAMAGED = [
    (f"{OF_GROUP}/status.json", "{"),
    (f"{OF_GROUP}/strategy.json", "{"),
    (f"{OF_GROUP}/metrics.jsonl", '"dev"\n"dev"\n'),
    (f"{OF_GROUP}/members.csv", "x"),
    (f"{OF_GROUP}/members.csv", ""),
    (f"{OF_GROUP}/answers.npz", "x"),
    *((f"{OF_MEMBER}/{name}", "x") for name in ("config.json", "summary.json", "interchange.csv")),
    *((f"{OF_MEMBER}/{name}", "x") for name in ("slices.csv", "controls.csv")),
    ("choice.csv", "x"),
    ("advice.json", '{"state": "recommended", "paragraphs": 1}'),
    ("cost/cost.csv", "x"),
    ("cost/crossovers.csv", "x"),
    ("cost/machine.json", "["),
    ("provenance.json", "["),
]


@pytest.fixture(scope="module")
def whole_sweep(tmp_path_factory):
    folder = make_sweep(
        tmp_path_factory.mktemp("sweeps") / "sweep", SWEEP, verdicts={0: "induction"}
    )
    add_choice(folder.path)
    make_run(folder.path / OF_MEMBER)
    return folder.path


def test_a_whole_sweep_lacks_nothing(whole_sweep):
    """Catches a file that is called damaged and is not."""
    words = words_of(report.write([str(whole_sweep)]).read_text())
    assert "left out" not in words
    assert "attention, width 16, 2 layers, its best member" in words


def test_of_several_tasks_the_page_says_whose_it_shows(whole_sweep, monkeypatch):
    """Catches one shape's task that is passed off as that of all."""
    for module in (sweep_report, chosen):
        monkeypatch.setattr(module, "picture", lambda *_: Markup("<svg></svg>"))
    path, told = whole_sweep / "sweep.json", "This was asked of attention, width 16, 2 layers."
    assert told not in words_of(report.write([str(whole_sweep)]).read_text())
    kept = path.read_text()
    content = json.loads(kept)
    content["members"][2] |= {"task.pairs": 3}
    try:
        path.write_text(json.dumps(content))
        words = words_of(report.write([str(whole_sweep)]).read_text())
    finally:
        path.write_text(kept)
    assert f"{told} Tasks of the shapes differ in task.pairs" in words


@pytest.mark.parametrize(("name", "text"), DAMAGED)
def test_one_damaged_file_of_a_sweep_is_named_and_the_rest_shown(
    whole_sweep, monkeypatch, name, text
):
    """Catches one file that ends the page, or is passed over in silence."""
    for module in (sweep_report, chosen):  # drawn anew each time, they would take a minute
        monkeypatch.setattr(module, "picture", lambda *_: Markup("<svg></svg>"))
    path = whole_sweep / name
    kept = path.read_bytes() if path.exists() else None
    path.write_text(text)
    try:
        words = words_of(report.write([str(whole_sweep)]).read_text())
    finally:
        path.unlink()
        if kept is not None:
            path.write_bytes(kept)
    assert "1 thing is left out" in words
    assert f"{name.rpartition('/')[2]} is damaged" in words.replace(
        "config.json:", "config.json is damaged"
    )
    assert "mamba, width 16, 2 layers 2 0.01 0 60.0%" in words
    assert MAMBA in words
    assert "How often training succeeds" in words


def test_a_folder_that_is_not_there_is_not_made(tmp_path):
    """Catches a report in a folder that a mistyped name has made."""
    good = make_run(tmp_path / "good", interchange=False)
    assert report.write([str(tmp_path / "goood"), str(good)]) == good / "report.html"
    assert not (tmp_path / "goood").exists()


def test_an_output_that_is_a_file_is_a_user_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="no folder"):
        report.write([str(make_run(tmp_path / "x"))], str(tmp_path / "file"))


@pytest.mark.parametrize("count", [1, 2])
def test_an_output_takes_all_that_is_written(tmp_path, count):
    """Catches tables that are written into folders of runs, which may be another's."""
    runs = [make_run(tmp_path / name) for name in "ab"[:count]]
    before = [sorted(run.rglob("*")) for run in runs]
    report.write(list(map(str, runs)), str(tmp_path / "out"))
    assert [sorted(run.rglob("*")) for run in runs] == before
    homes = [tmp_path / "out"] if count == 1 else [tmp_path / f"out/runs/{name}" for name in "ab"]
    for home in homes:
        assert (home / "tables" / "evidence.csv").exists()
        assert (home / "figures" / "attribution_key_restore.svg").exists()


def test_a_member_beside_its_sweep_counts_once(tmp_path):
    """Catches a run that is named twice, which no name tells from itself."""
    sweep = make_sweep(tmp_path / "sweep", {"attention": {(1e-2, 0): 0.9, (1e-2, 1): 0.2}})
    members = [sweep.path / f"groups/{ATTENTION}/members/{name}" for name in ("0000", "0001")]
    for member in members:
        make_run(member, interchange=False)
    given = [str(sweep.path), f"{members[1]}/../0001"]
    words = words_of(report.write(given, str(tmp_path / "out")).read_text())
    assert "2 runs compared" in words
