"""`python -m tools.study_results`, and that what it wrote is what stands in the repository."""

import re
import shutil

import pandas as pd
import pytest

from configs import recall
from mecheval_jax.errors import UserError
from mecheval_jax.files import read_json
from mecheval_jax.study.collected import missing
from mecheval_jax.study.results import config_hash, config_values, table_of
from mecheval_jax.study.tables import hashes_of, members_of, read_table, read_tables, write_table
from mecheval_jax.sweeps.plan import plan, plan_of
from tests.support import forked
from tests.support.compilation import ROOT
from tests.support.study_world import world
from tests.support.sweep_results import fill_members, make_sweep
from tools import blocks
from tools.study_results import NO_RUN

KEPT = ROOT / "docs" / "results"
PAGES = ("README.md", "docs/results.md")


def pages(root, tables=None):
    """A folder with the pages of the repository, and with some tables."""
    (root / "docs").mkdir(parents=True)
    for name in PAGES:
        shutil.copy(ROOT / name, root / name)
    if tables is not None:
        shutil.copytree(tables, root / "docs" / "results")
    return root


def run(root, *arguments):
    return forked.start(["-m", "tools.study_results", f"--root={root}", *arguments])


def contents(root):
    names = (path for path in root.rglob("*.*") if path.suffix not in (".png", ".pdf"))
    return {path.relative_to(root): path.read_bytes() for path in names}


def test_pages_are_those_of_the_tables(tmp_path):
    """Catches a table, figure, findings page, README or results page that was not written with the
    others, and numbers that were changed by hand."""
    written = pages(tmp_path / "root", KEPT)
    done = run(written)
    assert done.returncode == 0, done.stderr
    for name, content in contents(written).items():
        assert (ROOT / name).read_bytes() == content, name
    assert NO_RUN not in (ROOT / "docs" / "results.md").read_text()


def test_probabilities_in_the_prose_are_those_of_claims():
    """Catches a probability that later runs have changed: it is of a finding named beside it."""
    claims = pd.read_csv(KEPT / "findings" / "claims.csv").query("runs > 0")
    prose = (ROOT / "docs" / "results.md").read_text()
    quoted = 0
    for paragraph in re.split(r"\n(?:\n|\* )", prose):
        named = {int(one) for one in re.findall(r"finding (\d+)", paragraph)}
        of_named = claims[claims["finding"].isin(named)][["p_if_false", "p_if_true"]].to_numpy()
        for p, digits in re.findall(r"p = (0\.(\d+))", paragraph):
            assert float(p) in of_named.round(len(digits)), paragraph
            quoted += 1
    assert quoted


@pytest.fixture(scope="module")
def incomplete():
    """Names of tables whose sweeps have members in no table."""
    return {line.partition(":")[0] for line in missing(KEPT)}


@pytest.fixture(scope="module")
def trained():
    """Hashes of the configs of all members in the tables."""
    every = read_tables([KEPT])
    return set(every["config_hash"][every["split"] == "test"])


@pytest.mark.parametrize("table", sorted(KEPT.glob("*.csv")), ids=lambda path: path.stem)
def test_members_are_of_the_sweep_beside_them(table, incomplete, trained):
    """Catches rows that this program would not find again, and a config that is not theirs."""
    config = table.with_suffix(".json")
    sweep = plan_of(read_json(config), config)
    rows = read_table(table)
    members = members_of(sweep.groups)
    for split in ("test", "dev"):  # of held-out pairs, members are measured on both
        known = {config_hash(member.with_evaluation(split=split)) for member in members}
        assert set(rows["config_hash"][rows["split"] == split]) <= known
    assert table.stat().st_size < 1_000_000
    # A member may stand in the table of another sweep.
    assert (table.stem in incomplete) == (not set(hashes_of(sweep.groups)) <= trained)


def test_a_sweep_becomes_pages(tmp_path):
    """Catches pages that are not written anew, a table that was edited and counts, and gaps of
    which nobody is told."""
    sweep = make_sweep(tmp_path / "sweep", {"based": {(1e-3, 0): 0.9}, "mamba": {(1e-3, 0): 0.5}},
                       unfinished=("mamba",))  # fmt: skip
    fill_members(sweep, {0: 0.9})
    root = pages(tmp_path / "root")
    tables = root / "docs" / "results"
    part = world().query("task == 'ATR siblings' and width == 64 and layers == 2")
    write_table(tables / "siblings.csv", part)
    done = run(root, f"--sweep={sweep.path}", "--table=tiny")
    assert done.returncode == 0, done.stderr
    assert "tiny: 1 of 2 members to train (001_mamba_width_16)" in done.stderr
    assert len(read_table(tables / "tiny.csv")) == 1
    for name in PAGES:
        assert f"{len(part) + 1} trained models" in (root / name).read_text()
    assert NO_RUN in (root / "docs" / "results.md").read_text()
    (tables / "tiny.csv").write_text("edited")
    done = run(root)
    assert done.returncode == 2
    assert "was edited" in done.stderr


def test_a_sweep_of_what_is_missing(tmp_path):
    """Catches a sweep that trains what the tables have, and one that leaves out what they lack."""
    sweep = plan(recall.get_config("smoke=True"), [{"training.seed": 0}])
    rows = table_of([config_values(one) | {"accuracy": 0.5} for one in sweep.experiments])
    write_table(tmp_path / "results" / "recall.csv", rows)
    program = [
        "-m", "launch.sweep", "--config=configs/recall.py:smoke=True", "--grid=training.seed=0",
        f"--workdir={tmp_path / 'work'}", f"--skip_finished={tmp_path / 'results'}",
    ]  # fmt: skip
    done = forked.start([*program, "--interventions=none"])
    assert done.returncode == 0, done.stderr
    assert "1 of 1 groups are in" in done.stderr
    assert "left: none" in done.stderr
    assert not (tmp_path / "work").exists()
    done = forked.start([*program, "--interventions=verdict", "--groups=none_of_these"])
    assert done.returncode == 2
    assert "none_of_these" in done.stderr


def test_a_page_without_its_marks(tmp_path):
    """Catches a page that is overwritten, and a traceback."""
    root = pages(tmp_path / "root")
    (root / "docs" / "results.md").write_text("# Results\n")
    done = run(root)
    assert done.returncode == 2
    assert "results.md has no lines <!-- study" in done.stderr
    assert (root / "docs" / "results.md").read_text() == "# Results\n"


def test_a_page_that_asks_by_what_does_not_exist(tmp_path):
    """Catches a condition that is passed over, and a message that does not name the block."""
    root = pages(tmp_path / "root")
    page = root / "docs" / "results.md"
    page.write_text(page.read_text() + "\n<!-- runs: colour=red -->\n<!-- /runs -->\n")
    done = run(root)
    assert done.returncode == 2
    assert "results.md: <!-- runs: colour=red -->: runs are chosen by mixer, width" in done.stderr


@pytest.mark.parametrize(
    "text",
    [
        "<!-- runs:task=AR -->\n<!-- /runs -->",
        "<!-- runs: a -->\n<!-- runs: b -->\n<!-- /runs -->",
        "<!-- runs: a -->\n<!-- /runs -->\n<!-- runs: a -->\n<!-- /runs -->",
        "<!-- runs: a -->",
    ],
    ids=["form", "no_end", "twice", "last"],
)
def test_a_block_that_cannot_be_told(text, tmp_path):
    """Catches a block that keeps its old lines, and one that swallows what stands behind it."""
    page = tmp_path / "page.md"
    page.write_text(f"# Page\n\n<!-- runs: c -->\n<!-- /runs -->\n{text}\n")
    with pytest.raises(UserError, match=r"page.md: <!-- runs:.*: a block begins with a line"):
        blocks.asked(page, "runs", str.upper)
    page.write_text("# Page\n\n<!-- runs: c -->\nold\n<!-- /runs -->\n")
    assert blocks.asked(page, "runs", str.upper) == {("<!-- runs: c -->", "<!-- /runs -->"): "C"}
