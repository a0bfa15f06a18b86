"""A table says the same in every form, and no text in it is anything but text."""

import math

import pandas as pd

from mecheval_jax.reporting.numbers import percent
from mecheval_jax.reporting.table import Column, Table

EVIL = '=1+1|\\<b>&_{$}^~#%`*"'
TABLE = Table(
    "best",
    "The best of 5 % & more",
    (Column("run", link="at"), Column("accuracy", "share", percent, ends=True), Column("note")),
    [
        {"run": "a", "accuracy": 0.51234, "accuracy_low": 0.4, "accuracy_high": 0.6, "at": "a/"},
        {"run": EVIL, "accuracy": math.nan, "note": "two\nlines"},
    ],
    of="run",
)


def test_cells():
    """Catches a number that is rounded where it is sorted by, and a dash that hides a number."""
    (of, first), (_, second) = TABLE.lines()
    assert of == "a"
    assert (first[0].text, first[0].link, first[0].numeric) == ("a", "a/", False)
    assert (first[1].text, first[1].value, first[1].interval) == (
        "51.2%",
        "0.51234",
        "[40.0%, 60.0%]",
    )
    assert (second[1].text, second[1].value, second[1].interval) == ("-", "", "")
    assert (second[0].text, second[0].link) == (EVIL, "")


def test_a_star_stands_at_what_is_significant():
    """Catches a star at a number that is not, which a table may say in a word."""
    column = Column("x", form=percent, star="s")
    rows = [{"x": 0.5, "s": "True"}, {"x": 0.5, "s": False}, {"x": 0.5}]
    texts = [cells[0].text for _, cells in Table("t", "", (column,), rows).lines()]
    assert texts == ["50.0%*", "50.0%", "50.0%"]


def test_files(tmp_path):
    """Catches digits that are lost in CSV, and a text that Markdown, LaTeX or a sheet obeys."""
    TABLE.write(tmp_path)
    csv = pd.read_csv(tmp_path / "best.csv")
    assert list(csv) == ["run", "accuracy", "accuracy_low", "accuracy_high", "note"]
    assert csv["accuracy"][0] == 0.51234
    assert csv["run"][1] == f"'{EVIL}"  # a spreadsheet takes it for text
    head, rule, first, second = (tmp_path / "best.md").read_text().splitlines()
    assert head == "| run | share | note |"
    assert rule == "| --- | ---: | --- |"
    assert first == "| a | 51.2% \\[40.0%, 60.0%\\] | - |"
    assert second == '| =1+1\\|\\\\\\<b\\>\\&\\_\\{$\\}^~\\#%\\`\\*" | - | two lines |'
    latex = (tmp_path / "best.tex").read_text()
    assert r"\caption{The best of 5 \% \& more}" in latex
    assert r"a & 51.2\% {[}40.0\%, 60.0\%] & - \\" in latex
    assert (
        r"=1+1\textbar{}\textbackslash{}\textless{}b\textgreater{}\&\_\{\$\}\textasciicircum{}"
        r"\textasciitilde{}\#\%" in latex
    )
    assert r"\begin{tabular}{lrl}" in latex
