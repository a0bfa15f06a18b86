"""The report of a sweep says of every member, shape and group what the tables say."""

import json
import re

import pandas as pd
import pytest

from mecheval_jax.reporting.figures.look import Look, looking
from mecheval_jax.reporting.html import sweep_report
from mecheval_jax.store.run_folder import RunFolder
from mecheval_jax.sweeps.plan import plan
from mecheval_jax.sweeps.run import collect
from tests.support.choices import add_choice
from tests.support.compilation import ROOT
from tests.support.pages import tables_of, words_of
from tests.support.reported_runs import TRAINING, VALUES, make_run, table_of
from tests.support.sweep_results import ATTENTION, BASED, MAMBA, make_sweep


@pytest.fixture(scope="module")
def page(swept):
    return swept.report.read_text()


@pytest.fixture(scope="module")
def text(page):
    """What a reader sees: without figures and marks."""
    return words_of(page)


def test_the_page_needs_nothing_outside_itself(swept, page):
    """Catches figures by reference, ids that two share, and a link to a report nobody made."""
    assert page.count("<svg") == 4
    assert not re.findall(r"(?: src=|@import|https?://|<link)", page)
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    links = re.findall(r'<a href="([^"]+)"', page)
    assert f"groups/{ATTENTION}/members/0005/report.html" in links
    assert f"groups/{MAMBA}/members/0008/" in links
    assert f"groups/{MAMBA}/members/0008/report.html" not in links  # nobody made it


def test_figures_are_left_in_all_formats(swept):
    """Catches a figure that is in the page alone."""
    names = {path.name for path in swept.figures.iterdir()}
    drawn = ("accuracy_by_rate", "success_by_shape", "learning_curves", "verdicts_by_shape")
    assert names == {f"{name}.{kind}" for name in drawn for kind in ("png", "svg", "pdf")}


def test_the_page_says_what_was_found(text):
    """Catches numbers of another member, another shape or another threshold."""
    assert "12 members in 3 groups of one shape each" in text
    # The best: chosen by dev accuracy, with its interval, floor and verdict.
    row = "attention, width 16, 2 layers 5 0.01 2"
    assert f"{row} 99.5% 99.5% [92.5%, 100.0%] 25.0% direct_retrieval" in text
    assert "mamba, width 16, 2 layers 8 0.01 0 61.0% 61.0%" in text
    # Two of six above 90 %, one of them above 99 %; Wilson's intervals.
    assert "attention, width 16, 2 layers 6 1 33.3% [9.7%, 70.0%] 33.3% [9.7%, 70.0%] 16.7%" in text
    assert "attention, width 16, 2 layers 0.01 3 1 66.7%" in text
    assert "mamba, width 16, 2 layers 1 2 0 50.0%" in text
    # Who ended early, and where.
    assert "4 0.01 1 diverged 7 " in text
    assert "5 0.01 2 reached the target accuracy, and stopped 15 " in text
    # How each group was computed; where it came from.
    assert f"{MAMBA} mamba, width 16, 2 layers finished 4 20 20 vmap of 6" in text
    assert "abc123" in text
    assert "python -m launch.sweep --config=configs/recall.py:width=16 '--workdir=a b'" in text
    assert "training.learning_rate 0.0001, 0.01" in text


def test_a_group_that_is_not_finished_is_named(text, page):
    """Catches a report that passes a part of the sweep off as all of it, or unescaped text."""
    assert "1 of 3 groups is not finished" in text
    assert f"{BASED} : failed, step 10 of 20: out of <memory>" in text
    assert "<memory>" not in page
    assert "based, width 16, 2 layers 1" not in text  # no best member of it


def test_a_choice_with_interventions(tmp_path):
    """Catches a page of a choice that lacks what the page of one of its runs shows."""
    folder = make_sweep(tmp_path / "chosen", {"attention": {(1e-3, 0): 0.9}})
    path = make_run(folder.group("000_attention_width_16").member(0), over_training=TRAINING)
    early = table_of(dict.fromkeys(VALUES, 0.444)).assign(step=100)
    pd.concat([early, table_of()]).to_csv(path / "interchange.csv", index=False)
    place = {"control": "placebo", "site": "block_1/block_input", "role": "elsewhere"}
    attribution_rows = table_of().head(1).assign(**place, value=0.0123)
    attribution_rows.to_csv(path / "controls.csv", index=False)
    add_choice(folder.path)
    collect(folder)
    page = folder.report.read_text()
    text, tables = words_of(page), tables_of(page)
    assert [text for _, text in tables["rises"][1]][-2:] == ["10", "15"]
    assert "Where the association is stored" in text
    assert "attribution_key_restore" in tables  # the heat map
    assert "not_learned induction 200 100 -" in text
    assert 'id="best0-t' in page  # attributions over steps
    assert "placebo block_1/block_input restore elsewhere 0.01" in text
    assert "Effective attention was not measured of: attention, width 16, 2 layers" in text
    assert f"launch.evaluate --workdir={path} --analyses=attention" in text
    assert "No controls were measured" not in text
    homes = (folder.path / "tables", folder.path / "tables" / path.parents[1].name)
    for name in filter(None, tables):  # for papers, those of the best member in a folder of theirs
        for kind in ("csv", "md", "tex"):
            assert any((home / f"{name}.{kind}").exists() for home in homes), name


def test_the_advised_shape_is_shown_and_others_are_named(tmp_path, monkeypatch):
    """Catches an advised model whose evidence is cut off, and shapes that are missing silently."""
    monkeypatch.setattr(sweep_report, "MOST_MECHANISMS", 1)
    folder = make_sweep(
        tmp_path / "sweep", {"attention": {(1e-3, 0): 0.9}, "based": {(1e-3, 0): 0.8}}
    )
    members = [(group.name, make_run(group.member(i))) for i, group in enumerate(folder.groups())]
    best = [(name, RunFolder(path)) for name, path in members]
    shown, unshown = sweep_report._shown(best, "001_based_width_16")
    assert ([name for name, _ in shown], unshown) == (
        ["001_based_width_16"], ["000_attention_width_16"],
    )  # fmt: skip
    collect(folder)
    text = words_of(folder.report.read_text())
    assert "Evidence of 1 shape is shown." in text
    assert "shows a run by itself: based, width 16, 2 layers." in text


def test_no_attention_is_missing_of_what_has_none(tmp_path):
    """Catches a command that is refused: an LSTM is not linear in its tokens."""
    folder = make_sweep(tmp_path / "chosen", {"lstm": {(1e-3, 0): 0.9}})
    path = make_run(folder.group("000_lstm_width_16").member(0))
    config = json.loads((path / "config.json").read_text())
    config["model"]["mixer"] = "lstm"
    (path / "config.json").write_text(json.dumps(config))
    collect(folder)
    text = words_of(folder.report.read_text())
    assert "its best member" in text
    assert "--analyses=attention" not in text


@pytest.mark.parametrize("grid", [table_of().head(0), table_of(dict.fromkeys(VALUES))])
def test_what_a_verdict_alone_leaves(tmp_path, grid):
    """Catches a choice's page without heat maps, where members have no grid or no number in it."""
    folder = make_sweep(tmp_path / "chosen", {"attention": {(1e-3, 0): 0.9}})
    path = make_run(folder.group("000_attention_width_16").member(0))
    grid.to_csv(path / "interchange.csv", index=False)
    collect(folder)
    page = folder.report.read_text()
    heads, *rows = tables_of(page)["places"]
    assert [text for _, text in heads] == ["site", "key", "value", "query"]
    assert [row[0][1] for row in rows] == list(dict.fromkeys(site for site, _ in VALUES))
    text = words_of(page)
    assert "no grid with numbers was measured, as of: attention, width 16, 2 layers" in text
    assert "its changes are not known, of: attention, width 16, 2 layers" in text
    assert "No controls were measured of: attention, width 16, 2 layers" in text


def test_no_command_is_given_that_would_not_help(tmp_path):
    """Catches the advice to intervene again on a model from which the corruption takes nothing."""
    folder = make_sweep(tmp_path / "chosen", {"attention": {(1e-3, 0): 0.9}})
    path = make_run(folder.group("000_attention_width_16").member(0))
    summary = json.loads((path / "summary.json").read_text())
    summary["evidence"]["gap"] = 0.0
    (path / "summary.json").write_text(json.dumps(summary))
    table_of(dict.fromkeys(VALUES)).to_csv(path / "interchange.csv", index=False)
    collect(folder)
    text = words_of(folder.report.read_text())
    assert "takes too little from the answer, as of: attention, width 16, 2 layers." in text
    assert "Nothing is drawn on the document where no grid" not in text


def test_commands_find_mixers_of_ones_own(tmp_path):
    """Catches a command that ends in an import error when it is pasted."""
    folder = make_sweep(tmp_path / "own", {"attention": {(1e-3, 0): 0.9}})
    make_run(folder.group("000_attention_width_16").member(0), interchange=False)
    known = {"program": "sweep", "arguments": ["--x=1"], "python_path": "my code"}
    folder.provenance.write_text(json.dumps(known))
    collect(folder)
    text = words_of(folder.report.read_text())
    given = text.count("python -m launch.")
    assert text.count("PYTHONPATH='my code' python -m launch.") == given > 2


def test_a_choice_without_interventions(tmp_path):
    """Catches a page without its question, its machine's rates, or with formats nobody wrote."""
    folder = make_sweep(tmp_path / "chosen", {"attention": {(1e-3, 0): 0.9}})
    make_run(folder.group("000_attention_width_16").member(0), interchange=False)
    add_choice(folder.path)
    with looking(Look(formats=("svg",))):
        collect(folder)
    text = words_of(folder.report.read_text())
    asked = text.index("What was asked associative_recall; chance is 12.5%, and the best heuristic")
    assert asked < text.index("A document of this task") < text.index("Accuracy without recall")
    assert "in_document statistical any token of the class in this document 25.0%" in text
    assert "a made-up device (cpu): float32 products 1,234 GFLOP/s, memory 67.9 GB/s" in text
    assert "its figures as SVG: figures/" in text
    assert {path.suffix for path in folder.figures.iterdir()} == {".svg"}


@pytest.mark.parametrize("size", [1, sweep_report.SHAPES, sweep_report.SHAPES + 1])
def test_many_shapes_are_spread_over_figures(size):
    """Catches a shape that is left out, or drawn twice, where a figure is full."""
    titles = {str(number): f"shape {number}" for number in range(size)}
    pages = sweep_report._pages(titles)
    assert [name for page in pages for name in page] == list(titles)
    assert len(pages) == 1 + (size > sweep_report.SHAPES)


def test_one_member_without_verdict_or_provenance(tmp_path):
    """Catches a report that needs several groups, verdicts, strategies or a known command."""
    folder = make_sweep(tmp_path / "small", {"mamba": {(1e-3, 0): 0.4}})
    folder.provenance.unlink()
    (folder.group("000_mamba_width_16").path / "strategy.json").unlink()
    assert collect(folder) == 1
    page = folder.report.read_text()
    assert page.count("<svg") == 3
    assert not (folder.figures / "verdicts_by_shape.svg").exists()
    assert "1 member in 1 group" in page
    assert "not finished" not in page
    assert "The folder does not say by which command it was made." in page
    assert "side by side" not in page


def test_what_a_sweep_varies_is_listed_once():
    """Catches values that are repeated for every member, and None as an empty text."""
    members = [{"a.b": 1, "a.c": None}, {"a.b": 2, "a.c": None}, {"a.b": 1, "a.d": "x"}]
    assert sweep_report._varied(json.loads(json.dumps(members))) == [
        ("a.b", "1, 2"),
        ("a.c", "null"),
        ("a.d", "x"),
    ]


def test_the_page_on_sweeps_says_what_the_code_does():
    """Catches a flag, a helper or a table that the page names and the code does not have."""
    root = ROOT
    text = (root / "docs" / "sweeps.md").read_text()
    files = [*(root / "launch").glob("*.py"), root / "mecheval_jax" / "command_line.py"]
    programs = "".join(path.read_text() for path in files)
    known = set(re.findall(r'DEFINE_\w+\(\s*"(\w+)"', programs)) | {"config"}
    flags = set(re.findall(r"(?<![\w-])--(\w+)", text))
    assert {"grid", "shard", "strategy", "members_at_once", "interventions", "retries"} <= flags
    assert flags <= known
    (snippet,) = re.findall(r"^```python\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    names = {}
    exec(snippet, names)
    changes = names["sweep"]()
    assert f"these are {len(changes)} members in four groups" in text
    assert len(plan(names["get_config"](), changes).groups) == 4
