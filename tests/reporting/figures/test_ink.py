"""Ink on colours has the greater contrast."""

import numpy as np
import pytest

from mecheval_jax.reporting.figures import ink
from tests.support.colours import contrast


def test_luminances():
    """Catches another formula."""
    assert ink.luminance("#000000") == 0
    assert ink.luminance("#ffffff") == pytest.approx(1)
    assert ink.luminance("#777777") == pytest.approx(0.1845, abs=1e-3)


def test_ink_has_the_greater_contrast():
    """Catches pale ink on a pale ground."""
    for grey in np.linspace(0, 1, 101):
        colour = (grey, grey, grey)
        is_darker = contrast(colour, "black") >= contrast(colour, "white")
        assert ink.is_pale(colour) == is_darker
        assert ink.ink_on(colour) == (ink.DARK_ON_COLOUR if is_darker else ink.LIGHT_ON_COLOUR)
