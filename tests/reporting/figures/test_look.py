"""A prescribed look is that of every figure of its block, and of no other."""

import warnings

import pytest

from mecheval_jax.errors import UserError
from mecheval_jax.reporting.figures import drawing
from mecheval_jax.reporting.figures.look import (
    Look,
    _say_missing,
    formats,
    look,
    looking,
    styled,
)
from mecheval_jax.reporting.figures.saving import save
from tests.support.figure_cases import CASES
from tests.support.legible import faults_of


@styled
def drawn():
    figure, axes = drawing.one_axes(7.2, 3.6)
    axes.set_title("title")
    return figure


def test_a_block_has_its_look():
    """Catches a width that is ignored, proportions that change, and a look that stays."""
    with looking(Look(width=3.6, font="DejaVu Serif", font_size=7)):
        small = drawn()
    assert tuple(small.get_size_inches()) == (3.6, 1.8)
    title = small.axes[0].title
    assert (title.get_fontfamily(), title.get_fontsize()) == (["DejaVu Serif"], 7)
    assert look() == Look()
    plain = drawn()
    assert tuple(plain.get_size_inches()) == (7.2, 3.6)
    assert plain.axes[0].title.get_fontfamily() == ["DejaVu Sans"]


def test_letters_that_a_font_lacks_are_told_once(tmp_path, capfd, monkeypatch):
    """Catches a warning with a path for each letter of each figure, and one that nobody sees."""
    monkeypatch.setattr("multiprocessing.parent_process", lambda: None)
    _say_missing.cache_clear()
    for name in ("a", "b"):
        figure, axes = drawing.one_axes(3.6, 1.8)
        axes.set_title("\u6a21\u578b")
        save(figure, tmp_path, name)
        axes.set_title("")  # every figure of a test is looked at once more
    said = capfd.readouterr().err
    assert said.count("lacks letters") == 1
    assert "DejaVu Sans lacks letters of some names" in said
    assert "Glyph" not in said


def test_formats_in_words():
    """Catches a page that promises a format which was not written."""
    assert formats() == "PNG, SVG and PDF"
    for names, words in ((("pdf",), "PDF"), (("png", "svg"), "PNG and SVG")):
        with looking(Look(formats=names)):
            assert formats() == words


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0.0}, "figure width 0: between 1 and 40"),
        ({"font_size": 900.0}, "font_size 900: between 3 and 40"),
        ({"font": "No Such Font"}, "font 'No Such Font'"),
        ({"formats": ("png", "gif")}, "format 'gif'"),
    ],
)
def test_a_look_that_cannot_be(options, message):
    """Catches a figure in another font than was asked for, which matplotlib only warns of."""
    with pytest.raises(UserError, match=message):
        Look(**options)


@pytest.mark.parametrize("name", CASES)
def test_a_column_of_a_paper_is_wide_enough(name):
    """Catches panels side by side where one alone has room, and axes that a legend leaves flat."""
    with looking(Look(width=3.3, font="DejaVu Serif", font_size=8)), warnings.catch_warnings():
        warnings.simplefilter("error")  # that no layout was found
        figure = CASES[name]()
        faults = styled(faults_of)(figure)
    assert not faults
    assert figure.get_figwidth() == 3.3
    panels = [axes.bbox.height for axes in figure.axes if axes.get_subplotspec()]
    assert min(panels) > 0.35 * figure.dpi  # two lines of cells
