"""Numbers can be read on their colours."""

import re

import numpy as np
import pytest

from mecheval_jax.reporting.html import shades


def rgb(text):
    return tuple(int(text[i : i + 2], 16) / 255 for i in (1, 3, 5))


@pytest.mark.parametrize("style", [shades.attribution, shades.share])
def test_every_number_can_be_read(style):
    """Catches white on pale and black on dark: contrast is at least 4.5."""
    for value in np.linspace(-1.4, 1.4, 57):
        ground, ink = re.fullmatch(r"background:(#\w{6});color:(#\w{3})", style(value)).groups()
        inks = shades.luminance(rgb("#" + ink[1:] * 2))
        assert shades.contrast(shades.luminance(rgb(ground)), inks) >= 4.5
    assert style(None) == style(float("nan")) == ""
    assert style(1.4) == style(1.0)


def test_contrast_of_black_and_white():
    """Catches luminances of another formula."""
    assert shades.contrast(shades.luminance((1, 1, 1)), shades.luminance((0, 0, 0))) == 21
    assert shades.luminance(rgb("#777777")) == pytest.approx(0.1845, abs=1e-3)
