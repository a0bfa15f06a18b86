"""The report of a sweep says of every member, shape and group what the tables say."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from mecheval_jax.reporting.figures import drawing, sweep_figures
from mecheval_jax.reporting.html import sweep_report
from mecheval_jax.store.sweep_tables import best
from mecheval_jax.sweeps.plan import plan
from mecheval_jax.sweeps.run import collect
from tests.support.compilation import ROOT
from tests.support.sweep_results import FLOOR, make_sweep

# Mixer -> (learning rate, seed) -> accuracy; members 0 to 5, 6 to 9 and 10 to 11.
ACCURACIES = {
    "attention": {
        (1e-4, 0): 0.31,
        (1e-4, 1): 0.47,
        (1e-4, 2): 0.35,
        (1e-2, 0): 0.93,
        (1e-2, 1): 0.18,
        (1e-2, 2): 0.995,
    },
    "mamba": {(1e-4, 0): 0.22, (1e-4, 1): 0.26, (1e-2, 0): 0.61, (1e-2, 1): 0.58},
    "based": {(1e-4, 0): 0.72, (1e-2, 0): 0.81},
}
ATTENTION, MAMBA, BASED = "000_attention_width_16", "001_mamba_width_16", "002_based_width_16"
TITLES = {ATTENTION: "attention, width 16", MAMBA: "mamba, width 16"}
VERDICTS = {0: "not_learned", 3: "induction", 4: "not_learned", 5: "direct_retrieval"}


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A sweep whose last group failed half-way, as `collect` leaves it."""
    folder = make_sweep(
        tmp_path_factory.mktemp("sweeps") / "one",
        ACCURACIES,
        unfinished=["based"],
        diverged={4: 7},
        stopped={5: 15},
        verdicts=VERDICTS,
    )
    (folder.group(ATTENTION).member(5)).mkdir(parents=True)
    (folder.group(ATTENTION).member(5) / "report.html").write_text("")
    collect(folder)
    return folder


@pytest.fixture(scope="module")
def page(swept):
    return swept.report.read_text()


@pytest.fixture(scope="module")
def table(swept):
    return pd.read_csv(swept.table)


@pytest.fixture(scope="module")
def text(page):
    """What a reader sees: without figures and marks."""
    words = re.sub(r"<svg.*?</svg>|<style>.*?</style>|<[^>]+>", " ", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", words)


def panels(figure, names):
    return dict(zip(names, figure.axes, strict=False))


def points(axes, style):
    """Coordinates of the marks of a style."""
    lines = [line for line in axes.lines if line.get_marker() == style["marker"]]
    return np.concatenate([line.get_xydata() for line in lines] or [np.zeros((0, 2))])


def test_the_page_needs_nothing_outside_itself(swept, page):
    """Catches figures by reference, ids that two share, and a link to a report nobody made."""
    assert page.count("<svg") == 4
    assert not re.findall(r"(?:src|@import|https?://|<script|<link)", page)
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    links = re.findall(r'<a href="([^"]+)"', page)
    assert f"groups/{ATTENTION}/members/0005/report.html" in links
    assert f"groups/{MAMBA}/members/0008/" in links
    assert f"groups/{MAMBA}/members/0008/report.html" not in links  # nobody made it


def test_figures_are_left_in_two_formats(swept):
    """Catches a figure that is in the page alone."""
    names = {path.name for path in swept.figures.iterdir()}
    drawn = ("accuracy_by_rate", "success_by_shape", "learning_curves", "verdicts_by_shape")
    assert names == {f"{name}.{kind}" for name in drawn for kind in ("png", "svg")}


def test_a_figure_is_never_there_by_half(tmp_path, monkeypatch):
    """Catches a shard of a sweep that puts into its page what another has begun to draw."""
    figure, _ = drawing.one_axes(2.0, 2.0)
    path = drawing.save(figure, tmp_path, "one")
    whole, savefig = path.read_text(), Figure.savefig

    def draw(self, *arguments, **options):
        savefig(self, *arguments, **options)
        assert path.read_text() == whole

    monkeypatch.setattr(Figure, "savefig", draw)
    drawing.save(drawing.one_axes(3.0, 3.0)[0], tmp_path, "one")
    assert path.read_text() != whole
    assert {each.name for each in tmp_path.iterdir()} == {"one.png", "one.svg"}


def test_the_page_says_what_was_found(text):
    """Catches numbers of another member, another shape or another threshold."""
    assert "12 members in 3 groups of one shape each" in text
    # The best: chosen by dev accuracy, with its interval, floor and verdict.
    row = "attention, width 16, 2 layers 5 , report learning rate 0.01, seed 2"
    assert f"{row} 99.5% 99.5% [92.5%, 100.0%] 25.0% direct_retrieval" in text
    assert "mamba, width 16, 2 layers 8 learning rate 0.01, seed 0 61.0% 61.0%" in text
    # Two of six above 90 %, one of them above 99 %; Wilson's intervals.
    assert "attention, width 16, 2 layers 6 1 33.3% [9.7%, 70.0%] 33.3% [9.7%, 70.0%] 16.7%" in text
    assert "attention, width 16, 2 layers learning rate 0.01 3 1 66.7%" in text
    assert "mamba, width 16, 2 layers seed 1 2 0 50.0%" in text
    # Who ended early, and where.
    assert "4 learning rate 0.01, seed 1 diverged 7 " in text
    assert "5 learning rate 0.01, seed 2 reached the target accuracy, and stopped 15 " in text
    # How each group was computed; where it came from.
    assert f"{MAMBA} mamba, width 16, 2 layers finished 4 20 of 20 vmap of 6" in text
    assert "abc123" in text
    assert (
        "python -m launch.sweep --config=configs/recall.py:width=16 &#39;--workdir=a b&#39;" in text
    )
    assert "training.learning_rate 0.0001, 0.01" in text


def test_a_group_that_is_not_finished_is_named(text, page):
    """Catches a report that passes a part of the sweep off as all of it, or unescaped text."""
    assert "1 of 3 groups is not finished" in text
    assert f"{BASED} : failed, step 10 of 20: out of &lt;memory&gt;" in text
    assert "<memory>" not in page
    assert "based, width 16, 2 layers 1" not in text  # no best member of it


def test_every_member_has_its_mark_at_its_accuracy(table):
    """Catches members of another shape in a panel, a mean for a median, and a floor elsewhere."""
    drawn = panels(sweep_figures.accuracy_by_rate(table, TITLES), TITLES)
    for name, mixer in ((ATTENTION, "attention"), (MAMBA, "mamba")):
        axes, values = drawn[name], ACCURACIES[mixer]
        good = points(axes, sweep_figures.MEMBER)
        bad = points(axes, sweep_figures.DIVERGED)
        every = np.concatenate([good, bad])
        assert sorted(every[:, 1]) == sorted(values.values())
        assert len(np.unique(every[:, 0])) == len(every)  # equal accuracies lie side by side
        nearest = np.where(np.abs(every[:, 0] + 4) < np.abs(every[:, 0] + 2), 1e-4, 1e-2)
        expected = {(rate, value) for (rate, _), value in values.items()}
        assert {(r, v) for r, v in zip(nearest, every[:, 1], strict=True)} == expected
        median, floor = axes.lines[-2], axes.lines[-1]
        at = [np.median([v for (r, _), v in values.items() if r == rate]) for rate in (1e-4, 1e-2)]
        np.testing.assert_allclose(median.get_xydata(), [(-4, at[0]), (-2, at[1])])
        assert set(floor.get_ydata()) == {FLOOR}
    assert points(drawn[ATTENTION], sweep_figures.DIVERGED)[:, 1] == [0.18]
    assert len(points(drawn[MAMBA], sweep_figures.DIVERGED)) == 0


@pytest.mark.parametrize("rates", [(1e-3,), (0.0,), (0.0, 1e-3, 2e-3)])
def test_rates_that_no_logarithm_has(table, rates):
    """Catches a figure of one learning rate, or of none, that cannot be drawn."""
    members = sorted(set(table["member"]))
    rate = {member: rates[i % len(rates)] for i, member in enumerate(members)}
    figure = sweep_figures.accuracy_by_rate(
        table.assign(learning_rate=table["member"].map(rate)), TITLES
    )
    figure.canvas.draw()
    for axes in panels(figure, TITLES).values():
        labels = [label.get_text() for label in axes.get_xticklabels()]
        assert labels == [f"{one:g}" for one in rates]
        low, high = axes.get_xlim()
        inside = points(axes, sweep_figures.MEMBER)[:, 0]
        assert np.isfinite([low, high]).all()
        assert ((low < inside) & (inside < high)).all()


def test_learning_curves_are_of_all_members_and_the_best_stands_out(swept, table):
    """Catches training rows among dev rows, the wrong best member, and ends that are not marked."""
    titles = TITLES | {BASED: "based"}
    curves = {name: sweep_report._curves(swept.group(name)) for name in titles}
    chosen = best(table)
    figure = sweep_figures.learning_curves(
        curves, titles, table, dict(zip(chosen["group"], chosen["member"], strict=True))
    )
    drawn = panels(figure, titles)
    (others,) = drawn[ATTENTION].collections
    assert len(others.get_segments()) == 5
    line = max(drawn[ATTENTION].lines, key=lambda line: len(line.get_xdata()))
    np.testing.assert_allclose(line.get_xydata()[-1], (15, 0.995))  # member 5, which stopped
    np.testing.assert_allclose(points(drawn[ATTENTION], sweep_figures.MEMBER), [(15, 0.995)])
    # Member 4 was last looked at at step 5 of the 7 that it took.
    np.testing.assert_allclose(
        points(drawn[ATTENTION], sweep_figures.DIVERGED), [(7, 0.18 * 5 / 7)]
    )
    (others,) = drawn[BASED].collections
    assert len(others.get_segments()) == 2
    assert not drawn[BASED].lines  # neither a best member nor a floor is known


def test_success_has_its_interval_at_its_shape(swept):
    """Catches the rows of one rate among those of all, and shapes that are swapped."""
    success = pd.read_csv(swept.success)
    (axes,) = sweep_figures.success_by_shape(success, TITLES).axes
    shares = {0.5: (2 / 6, 2 / 4), 0.9: (2 / 6, 0.0), 0.99: (1 / 6, 0.0)}
    assert len(axes.containers) == 3
    for bars, (threshold, expected) in zip(axes.containers, shares.items(), strict=True):
        line, _, (interval,) = bars
        assert bars.get_label() == f"accuracy above {threshold:.0%}"
        np.testing.assert_allclose(line.get_xdata(), expected)
        assert [round(y) for y in line.get_ydata()] == [0, 1]
        rows = success[(success["over"] == "all") & (success["threshold"] == threshold)]
        ends = [segment[:, 0] for segment in interval.get_segments()]
        np.testing.assert_allclose(ends, rows[["low", "high"]], atol=1e-12)


def test_verdicts_are_counted(table):
    """Catches counts of another class, and bars that do not stand end to end."""
    (axes,) = sweep_figures.verdicts_by_shape(table, TITLES).axes
    found = {bars.get_label(): bars for bars in axes.containers}
    counts = {name: [bar.get_width() for bar in bars] for name, bars in found.items()}
    assert counts == {
        "induction": [1, 0],
        "direct retrieval": [1, 0],
        "not learned": [2, 0],
    }
    assert [found[name][0].get_x() for name in counts] == [0, 1, 2]


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
    programs = "".join(path.read_text() for path in (root / "launch").glob("*.py"))
    known = set(re.findall(r'DEFINE_\w+\(\s*"(\w+)"', programs)) | {"config", "writers"}
    flags = set(re.findall(r"(?<![\w-])--(\w+)", text))
    assert {"grid", "shard", "strategy", "members_at_once", "interventions", "retries"} <= flags
    assert flags <= known
    (snippet,) = re.findall(r"^```python\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    names = {}
    exec(snippet, names)
    changes = names["sweep"]()
    assert f"these are {len(changes)} members in four groups" in text
    assert len(plan(names["get_config"](), changes).groups) == 4
