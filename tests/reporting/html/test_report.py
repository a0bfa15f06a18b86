"""A report needs nothing outside itself, says what was found, and compares runs."""

import re

import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.reporting.html import report
from tests.support.reported_runs import make_run


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
