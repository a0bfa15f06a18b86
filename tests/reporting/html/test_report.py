"""What is shown is what was measured: right number, right cell, and nothing unescaped."""

import dataclasses
import json
import re

import numpy as np
import pandas as pd
import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.evaluation.verdict.verdict import Verdict
from mecheval_jax.reporting.figures import drawing, training_figures
from mecheval_jax.reporting.figures import run_figures as figures
from mecheval_jax.reporting.html import report
from mecheval_jax.reporting.terminal import tables

CONFIG = {
    "task": {"name": "associative_recall", "pairs": 4, "key_vocabulary": 8, "value_vocabulary": 8},
    "model": {"mixer": "attention", "layers": 2, "width": 16, "max_length": 32},
    "training": {"steps": 200, "learning_rate": 0.001, "seed": 3},
    "evaluation": {"documents": 40},
}
SUMMARY = {
    "finished": True,
    "step": 200,
    "mixer": "attention",
    "width": 16,
    "accuracy": 0.912,
    "accuracy_low": 0.853,
    "accuracy_high": 0.957,
    "split": "test",
    "documents": 40,
    "floors": {"uniform": 0.125, "in_document": 0.25, "first": 0.234, "last": 0.2, "best": 0.25},
}
ROLES = ("key", "value", "query")
VALUES = {  # (site, role) -> attribution, all different, so that a swap shows
    ("block_0/block_output", "key"): 0.11,
    ("block_0/block_output", "value"): 0.87,
    ("block_0/block_output", "query"): -0.001,
    ("block_1/block_input", "key"): -0.13,
    ("block_1/block_input", "value"): 0.93,
    ("block_1/block_input", "query"): 0.02,
    ("block_1/block_output", "key"): 0.03,
    ("block_1/block_output", "value"): None,
    ("block_1/block_output", "query"): 1.37,
}
PROBABILITIES = {"induction": 0.874, "mixed": 0.126, "not_learned": 0.0}
CONTROLLED = {  # what stands beside two readings
    ("block_1/block_input", "value"): {"untrained": 0.041, "placebo": -0.062},
    ("block_1/block_input", "query"): {"untrained": None, "placebo": 0.013},
}
VERDICT = Verdict(
    "induction",
    1,
    "convolution_at_value",
    "the input restores 0.93 [0.88, 0.98] at the value",
    PROBABILITIES,
    {},
)


def attribution_rows(values=VALUES, corruption="key", direction="restore"):
    rows = []
    for (site, role), value in values.items():
        block, component = site.split("/")
        place = {"layer": int(block[-1]), "component": component, "site": site, "role": role}
        ends = {"low": None, "high": None}
        if value is not None:
            ends = {"low": value - 0.05, "high": value + 0.05}
        rows.append(
            {"corruption": corruption, "direction": direction, "step": 200, **place}
            | {"metric": "attribution", "value": value, **ends, "documents": 40}
        )
        rows.append(rows[-1] | {"metric": "probability", "value": 0.5})
    return rows


DISTRACTOR = {"value": 0.017, "low": -0.021, "high": 0.055, "documents": 37}


def evidence_rows():
    rows = [row for row in attribution_rows() if row["metric"] == "attribution"]
    return [row | CONTROLLED.get((row["site"], row["role"]), {}) for row in rows]


def table_of(values=VALUES, **place):
    return pd.DataFrame(attribution_rows(values, **place))


def make_run(folder, verdict="induction", interchange=True, **summary):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    provenance = {
        "commit": "abc123",
        "arguments": ["--config=configs/recall.py:width=16", "--workdir=a b"],
    }
    (folder / "provenance.json").write_text(json.dumps(provenance))
    steps = [
        {"step": s, "split": d, "accuracy": s / 250} for s in (100, 200) for d in ("train", "dev")
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in steps))
    values = SUMMARY | summary
    if interchange:
        table_of().to_csv(folder / "interchange.csv", index=False)
        evidence = evidence_rows()
        values |= {
            "verdict": verdict,
            "layer": 1,
            "binding": VERDICT.binding,
            "reason": VERDICT.reason,
            "probabilities": PROBABILITIES,
            "evidence_step": 200,
            "evidence": {"gap": 0.667, "attributions": evidence, "distractor": DISTRACTOR},
        }
    (folder / "summary.json").write_text(json.dumps(values))
    return folder


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
    assert not re.findall(r"<(?:script|link|img|iframe|object)\b|@import", html)
    references = re.findall(r'(?:href|src)="([^"]*)"|url\(([^)]*)\)', html)
    assert references
    ids = re.findall(r'\bid="([^"]*)"', html)
    assert len(ids) == len(set(ids))  # one figure's glyphs must not stand in for another's
    outside = {a or b for a, b in references if not (a or b).startswith("data:image/png;base64,")}
    assert {reference.removeprefix("#") for reference in outside} <= set(ids)


def test_report_says_what_was_found(page):
    html = page.read_text()
    text = re.sub(r"<[^>]*>", " ", html)
    verdict = text.index("recalls by induction")
    assert verdict < text.index("91.2% [85.3%, 95.7%]") < text.index("What the verdict rests on")
    for number in ("12.50%", "25.00%", "23.40%", "20.00%", "0.667", "[0.88, 0.98]", "1.37"):
        assert number in text
    assert (
        "python -m launch.train --config=configs/recall.py:width=16 &#39;--workdir=a b&#39;" in text
    )
    assert "abc123" in text
    assert "training.learning_rate" in text
    assert html.count("<svg") == 2
    assert "no number" in text  # how to read the hatched cell
    # Controls beside the reading, and the probability of each verdict.
    assert re.search(r"0\.93 +\[0\.88, 0\.98\] +restores +0\.04 +-0\.06", text)
    assert re.search(r"0\.02 +\[-0\.03, 0\.07\] +negligible +- +0\.01", text)
    assert "takes 0.02 [-0.02, 0.06] of what the key" in re.sub(r"\s+", " ", text)
    assert re.search(r"induction +87\.4% +mixed +12\.6%", re.sub(r"\s+", "  ", text))
    assert "One vector of a convolution, at the value, holds the pair." in text
    assert "Over training" not in text


TRAINING = {
    "steps": [
        {"step": step, "accuracy": accuracy, "verdict": verdict, "layer": layer}
        | {"binding": None, "probabilities": {verdict: share}}
        for step, accuracy, verdict, layer, share in (
            (100, 0.26, "not_learned", None, 0.93),
            (200, 0.912, "induction", 1, 0.874),
        )
    ],
    "transitions": [
        {"before": "not_learned", "after": "induction", "step": 200, "low": 100, "high": None}
    ],
}


def test_report_over_training(tmp_path):
    """Catches rows of an earlier step shown as the run's, and a transition without its interval."""
    folder = make_run(tmp_path / "x", over_training=TRAINING)
    early = table_of(dict.fromkeys(VALUES, 0.444)).assign(step=100)
    pd.concat([early, table_of()]).to_csv(folder / "interchange.csv", index=False)
    html = report.write([str(folder)]).read_text()
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html))
    assert "not_learned to induction 200 100 to after the last" in text
    assert "100 26.0% not_learned - 93.0%" in text
    assert "200 91.2% induction 1 87.4%" in text
    assert "0.44" not in text
    assert "another step" not in text
    assert (folder / "figures" / "attribution_over_steps.svg").exists()


def test_attributions_over_steps_stand_beside_the_accuracy():
    """Catches a line of another site, and an interval of the transition that is not drawn."""
    early = table_of(dict.fromkeys(VALUES, 0.25)).assign(step=100)
    figure = training_figures.attribution_over_steps(
        pd.concat([early, table_of()]), TRAINING["steps"], TRAINING["transitions"]
    )
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    assert list(lines["@value"].get_xdata()) == [100, 200]
    assert list(lines["@value"].get_ydata()) == [0.25, 0.93]
    assert list(lines["@key"].get_ydata()) == [0.25, -0.13]
    assert list(lines["accuracy"].get_ydata()) == [0.26, 0.912]
    (shaded,) = figure.axes[0].patches
    assert (shaded.get_x(), shaded.get_width()) == (100, 100)  # an open end goes to the last


def test_report_shows_slices(tmp_path):
    """Catches slices that are left out, or a bin that is shown as one number."""
    folder = make_run(tmp_path / "run", interchange=False)
    (folder / "slices.csv").write_text(
        "property,low_value,high_value,accuracy,low,high,queries\n"
        "pairs,4,4,0.75,0.5,0.875,16\ndistance,8,15,0.25,0.125,0.5,24\n"
    )
    html = report.write([str(folder)]).read_text()
    cells = [re.findall(r"<td[^>]*>([^<]*)</td>", line) for line in html.splitlines()]
    assert ["pairs", "4", "75.0 %", "[50.0, 87.5]", "16"] in cells
    assert ["distance", "8 to 15", "25.0 %", "[12.5, 50.0]", "24"] in cells


def test_report_leaves_figures_in_two_formats(page):
    for name in ("accuracy", "attribution_key_restore"):
        assert (page.parent / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "<svg" in (page.parent / "figures" / f"{name}.svg").read_text()


def test_heat_map_has_every_value_in_its_cell():
    figure = figures.attribution_heat_map(table_of(), "key", "restore")
    panels = {axes.get_title(loc="left"): axes for axes in figure.axes if axes.images}
    assert list(panels) == ["block input", "block output"]
    axes = panels["block output"]
    assert [label.get_text() for label in axes.get_xticklabels()] == list(ROLES)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["0", "1"]
    expected = np.array([[0.11, 0.87, -0.001], [0.03, np.nan, 1.37]])
    image = axes.images[0]
    np.testing.assert_array_equal(image.get_array().filled(np.nan), expected)
    texts = {tuple(map(int, text.get_position())): text.get_text() for text in axes.texts}
    assert texts == {(0, 0): "0.11", (1, 0): "0.87", (2, 0): "0.00", (0, 1): "0.03", (2, 1): "1.37"}
    (hatched,) = [patch for patch in axes.patches if patch.get_hatch()]
    assert hatched.get_xy() == (0.5, 0.5)
    assert (image.norm.vmin, image.norm.vmax) == (-1, 1)
    assert image.cmap(image.norm(1.37)) == image.cmap(image.norm(1.0))


def test_heat_map_of_nothing_that_can_be_told():
    nothing = dict.fromkeys(VALUES)  # a column of None is one of objects
    figure = figures.attribution_heat_map(table_of(nothing), "key", "restore")
    assert all(image.get_array().mask.all() for axes in figure.axes for image in axes.images)


def test_heat_map_reads_its_own_corruption_and_direction():
    other = table_of(dict.fromkeys(VALUES, 0.5), direction="damage")
    table = pd.concat([table_of(), other, table_of(dict.fromkeys(VALUES, 0.4), corruption="value")])
    for corruption, direction, expected in (("key", "damage", 0.5), ("value", "restore", 0.4)):
        figure = figures.attribution_heat_map(table, corruption, direction)
        images = [image for axes in figure.axes for image in axes.images]
        assert {value for image in images for value in image.get_array().ravel()} == {expected}


def test_heat_map_shows_sites_outside_the_blocks():
    place = {"layer": None, "component": "embedding", "site": "embedding", "role": "key"}
    row = attribution_rows()[0] | place | {"value": 0.66}
    figure = figures.attribution_heat_map(pd.DataFrame([row]), "key", "restore")
    assert [text.get_text() for text in figure.axes[0].texts] == ["0.66"]


def test_figures_are_the_same_every_time(tmp_path):
    paths = [
        drawing.save(figures.attribution_heat_map(table_of(), "key", "restore"), tmp_path, name)
        for name in ("one", "two")
    ]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_accuracy_curves():
    metrics = [
        {"step": s, "split": d, "accuracy": s / k}
        for s in (1, 2)
        for d, k in (("train", 4), ("dev", 8))
    ]
    figure = figures.accuracy_over_steps({"_a$x$": metrics}, {"_a$x$": 0.25})
    (axes,) = figure.axes
    train, dev, floor = axes.lines
    assert list(train.get_ydata()) == [0.25, 0.5]
    assert list(dev.get_ydata()) == [0.125, 0.25]
    assert set(floor.get_ydata()) == {0.25}
    assert floor.get_linestyle() == "--"
    assert axes.get_ylim() == pytest.approx((-0.02, 1.02))
    assert axes.yaxis.get_major_formatter()(0.4) == "40%"


def test_scatter_places_every_run_and_names_it():
    bound_late = VALUES | {("block_1/block_input", "value"): 0.05}
    late = pd.concat(
        [table_of(bound_late), table_of({("block_1/block_input", "next_key"): 0.97})],
    )
    runs = {"first": table_of(), "$late": late, "blind": table_of(dict.fromkeys(VALUES))}
    figure, placed = figures.layer_scatter(runs)
    assert placed == ["first", "$late"]
    marks = [line for line in figure.axes[0].lines if line.get_marker() not in ("None", "_", "|")]
    places = [(float(x), float(y)) for mark in marks for x, y in [mark.get_xydata()[0]]]
    assert places == [(0.02, 0.93), (0.02, 0.97)]
    texts = "\n".join(text.get_text() for text in figure.axes[0].texts).split("\n")
    assert {"first", "$late"} <= set(texts)


def test_scatter_labels_do_not_cover_one_another():
    rng = np.random.default_rng(0)
    runs = {}
    for index, (query, value) in enumerate(rng.uniform(0, 1, (12, 2))):
        places = {"query": query, "value": value}
        runs[f"a_run_{index}"] = table_of(
            {("block_1/block_input", r): v for r, v in places.items()}
        )
    figure, _ = figures.layer_scatter(runs)
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    for index, box in enumerate(boxes):
        for other in boxes[index + 1 :]:
            width = min(box.x1, other.x1) - max(box.x0, other.x0)
            height = min(box.y1, other.y1) - max(box.y0, other.y0)
            assert min(width, height) < 1
    many = {f"{name}_{copy}": table for name, table in runs.items() for copy in "ab"}
    figure, _ = figures.layer_scatter(many)  # too many to name: numbered, and listed beside
    assert "24  a_run_11_b" in figure.texts[0].get_text()


def test_several_runs_are_compared(tmp_path, capsys):
    one, two = make_run(tmp_path / "a" / "run"), make_run(tmp_path / "b" / "run", "mixed")
    bare = make_run(tmp_path / "c", interchange=False)
    path = report.write([str(f) for f in (one, two, bare, one)], str(tmp_path / "out" / "here"))
    assert path == tmp_path / "out" / "here" / "report.html"
    html = path.read_text()
    assert (
        html.index("3 runs compared") < html.index("<h2>a/run</h2>") < html.index("<h2>b/run</h2>")
    )
    assert "Not drawn, for want of interventions at the input of layer 1: " in html
    assert (path.parent / "figures" / "comparison_layer_1.svg").exists()
    ids = re.findall(r'\bid="([^"]*)"', html)
    assert len(ids) == len(set(ids))
    printed = capsys.readouterr()
    assert re.search(
        r"b/run +attention +16 +91.2% \[85.3%, 95.7%\] +25.0% +0.93 +-0.13 +0.02 +mixed",
        printed.out,
    )
    assert f"report: {path}" in printed.err


def test_several_runs_without_anything_to_scatter(tmp_path):
    """Catches a comparison that needs an attribution, which runs that learned nothing lack."""
    folders = [make_run(tmp_path / name, interchange=False) for name in ("a", "b")]
    (folders[1] / "metrics.jsonl").unlink()
    (folders[0] / "metrics.jsonl").unlink()
    html = report.write([str(folder) for folder in folders], str(tmp_path / "out")).read_text()
    assert "2 runs compared" in html


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


def test_a_verdict_of_another_step_is_not_passed_off_as_this_one(tmp_path):
    folder = make_run(tmp_path / "x")
    (folder / "metrics.jsonl").unlink()
    table_of().assign(step=150).to_csv(folder / "interchange.csv", index=False)
    assert "another step than interchange.csv" in report.write([str(folder)]).read_text()


def test_names_are_escaped(tmp_path):
    folder = make_run(tmp_path / '<script>alert("x")<', reason="<b>&--><script>")
    html = report.write(
        [str(folder), str(make_run(tmp_path / "other", interchange=False))]
    ).read_text()
    assert "<script" not in html
    assert "&lt;script&gt;alert(&#34;x&#34;)&lt;" in html


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("config.json", None, "holds no run"),
        ("config.json", "{", "damaged"),
        ("interchange.csv", "", "damaged"),
        ("interchange.csv", "run,site\na,b\n", "no column"),
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


def test_an_output_that_is_a_file_is_a_user_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="no folder"):
        report.write([str(make_run(tmp_path / "x"))], str(tmp_path / "file"))


def test_interchange_is_printed(capsys):
    tables.show_interchange(table_of(), VERDICT)
    out = capsys.readouterr().out
    lines = [line.split() for line in out.splitlines()]
    assert ["layer", "1", "input", "-0.13", "0.93", "0.02"] in lines
    assert ["layer", "1", "output", "0.03", "-", "1.37"] in lines
    assert "[0.88, 0.98]" in out
    assert f"verdict: induction (layer 1): {VERDICT.reason}" in out
    assert "\x1b" not in out


def test_what_a_verdict_rests_on_is_printed_with_its_controls(capsys):
    """Catches a control beside another number, and a star where there is none to give."""
    evidence = {"attributions": evidence_rows(), "distractor": DISTRACTOR}
    verdict = dataclasses.replace(VERDICT, evidence=evidence)
    table = table_of().assign(significant=lambda rows: rows["role"] == "value")
    tables.show_interchange(table, verdict)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["layer", "1", "input", "-0.13", "0.93*", "0.02"] in lines
    reading = ["block_1/block_input", "value", "0.93", "[0.88,", "0.98]", "0.04", "-0.06"]
    assert [*reading, "restores"] in lines
    assert ["probabilities:", "induction", "87.4%,", "mixed", "12.6%"] in lines
    assert ["binding:", "convolution_at_value"] in lines
    assert any(line[:2] == ["distractor:", "an"] and "(37" in line for line in lines)


def test_a_pool_says_who_is_in_it(capsys):
    """Catches runs left out without a word."""
    evidence = {"attributions": evidence_rows()}
    verdict = dataclasses.replace(VERDICT, evidence=evidence)
    tables.show_pool(verdict, {"runs/a": True, "runs/b": False})
    out = capsys.readouterr().out
    assert "1 of 2 runs have learned the task" in out
    assert "runs/b: not learned, left out" in out
    assert "verdict: induction (layer 1)" in out


def test_a_grid_without_the_residual_stream_is_printed_too(capsys):
    tables.show_interchange(table_of({("block_1/mixer_output", "query"): 0.71}), None)
    out = capsys.readouterr().out
    assert "layer 1 mixer_output" in out
    assert "0.71" in out
    assert "verdict: none" in out
