"""Figures become files, the same every time, and parts of a page."""

import importlib.resources
import itertools
import re
import xml.etree.ElementTree

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from mecheval_jax.reporting.figures import drawing, legends, saving, sweep_figures
from mecheval_jax.reporting.figures.ink import ink_on
from mecheval_jax.reporting.figures.look import Look, looking, styled
from tests.support.colours import contrast


@styled
def drawn():
    figure, axes = drawing.one_axes(3.0, 2.0)
    axes.plot([0, 1], [0, 1], color=drawing.COLOURS[0])
    axes.set(xlim=(0, 1), ylim=(0, 1), title="<b>title</b>")
    drawing.annotate(axes, [0, 1, float("nan")], [0, 1, 0], ["first", 'a "<b>"', "nowhere"])
    return figure


def test_formats(tmp_path):
    """Catches a format that is left out, and a file that says when it was made."""
    every = Look(formats=("png", "svg", "pdf"))
    for name in ("one", "two"):
        with looking(every):
            saving.save(drawn(), tmp_path, name)
    begins = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}
    for kind, begin in begins.items():
        one, two = ((tmp_path / f"{name}.{kind}").read_bytes() for name in ("one", "two"))
        assert one == two
        assert one.startswith(begin)


def test_a_figure_of_a_page():
    """Catches a note at another mark, text as outlines, and a colour that no dark page has."""
    svg = saving.inline(drawn(), "p", 'words "of" it')
    assert 'aria-label="words &#34;of&#34; it. &lt;b&gt;title&lt;/b&gt;. first; a ' in svg
    assert "&lt;b&gt;title&lt;/b&gt;</text>" in svg
    assert "#000000" not in svg
    assert "stroke: var(--blue)" in svg
    assert not re.findall(r'\bid="(?!p-)', svg)
    marks = re.findall(
        r'<circle class="note" cx="([\d.]+)" cy="([\d.]+)" [^>]*data-note="(.*?)">', svg
    )
    assert [note for *_, note in marks] == ["first", "a &#34;&lt;b&gt;&#34;"]
    (path,) = re.findall(r'<path d="M ([\d.]+) ([\d.]+) \nL ([\d.]+) ([\d.]+) \n" [^>]*blue', svg)
    for mark, place in zip(marks, (path[:2], path[2:]), strict=True):
        assert [float(x) for x in mark[:2]] == [round(float(x), 1) for x in place]


def test_a_figure_in_words():
    """Catches a description that names the kind of a figure alone."""
    figure, axes = drawing.one_axes(3.0, 2.0)
    axes.plot([0, 1], [0, 1], label="attention")
    axes.set(xlabel="width", ylabel="accuracy")
    axes.set_title("training", loc="left")
    axes.text(1, 1, "based\x1b")
    axes.text(0, 0, "0.98")  # of a cell
    axes.legend()
    drawing.annotate(axes, range(14), range(14), (f"mark {i}" for i in range(14)))
    assert saving.described(figure, "Accuracy").startswith(
        "Accuracy. training, accuracy against width, with based\\x1b, attention. mark 0; mark 1; "
    )
    assert saving.described(figure, "Accuracy").endswith("mark 11; and 2 more marks")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_of_a_page(theme):
    """Catches two series of one colour on a dark page, and a number on a bar of its own colour."""
    style = importlib.resources.files("mecheval_jax.reporting.html").joinpath("style.css")
    light, dark, *_ = re.findall(r":root \{(.*?)\}", style.read_text(), flags=re.DOTALL)
    names = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", light))
    names |= dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", dark)) if theme == "dark" else {}
    colours = (*drawing.COLOURS, sweep_figures.UNLEARNED)
    shown = [names.get(saving.IN_PAGE.get(colour, ""), colour) for colour in colours]
    apart = [np.subtract(to_rgb(a), to_rgb(b)) for a, b in itertools.combinations(shown, 2)]
    assert min(np.abs(difference).max() for difference in apart) > 0.15
    assert min(contrast(colour, names["page"]) for colour in shown) > 2.2
    bars = [(a, b) for a, b in zip(colours, shown, strict=True) if a != "#000000"]
    assert min(contrast(ink_on(one), on_page) for one, on_page in bars) > 4.5


def test_what_labels_say_is_not_changed():
    """Catches ids and colours that are replaced in texts, where they are a user's words."""
    labels = ["url(#ab)", "x: #ffffff", 'id="a" href="#b" xmlns="c"']
    figure, axes = drawing.one_axes(6.0, 4.0)
    axes.set(title=labels[0], xlabel=labels[1], ylabel=labels[2])
    svg = saving.inline(figure, "p", "words")
    assert [label for label in labels if f">{label}</text>" not in svg] == []


def test_control_characters_are_spelled_out(tmp_path):
    """Catches a token or a run's name that makes the file no XML, wherever it stands."""
    evil = "a\x1b[31m\x07b\uffff\ud800"
    figure, axes = drawing.one_axes(8.0, 4.0)
    axes.plot([0, 1, 2], [0, 1, 2], label=evil)
    axes.set_xticks([0, 1, 2], ["plain", evil, 3])
    axes.set_title(evil)
    axes.set_ylabel("two\nlines")
    axes.annotate(evil, (0.5, 1))
    drawing.annotate(axes, [0], [0], [evil])
    legends.legend_below(figure)
    saving.save(figure, tmp_path, "a")
    xml.etree.ElementTree.parse(tmp_path / "a.svg")
    svg = saving.inline(figure, "p", "words")
    xml.etree.ElementTree.fromstring(svg.replace("xlink:", ""))
    told = r"a\x1b[31m\x07b\uffff\ud800"
    assert svg.count(f">{told}</text>") == 4  # title, tick, annotation, legend
    assert f'data-note="{told}"' in svg


def test_a_page_has_notes_on_some_of_many_marks():
    """Catches a page that grows with every mark, and a series that has no notes."""
    figure, axes = drawing.one_axes(3.0, 2.0)
    for name in "abc":
        places = np.linspace(0, 1, 300)
        drawing.annotate(axes, places, places, [name] * 300)
    found = re.findall(r'data-note="(.)"', saving.inline(figure, "p", "words"))
    assert len(found) <= drawing.MOST_NOTES
    assert [found.count(name) for name in "abc"] == [100, 100, 100]
