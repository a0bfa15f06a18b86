"""Numbers can be read on their colours."""

import re

import numpy as np
import pytest

from mecheval_jax.reporting.html import shades
from tests.support.colours import contrast


@pytest.mark.parametrize("style", [shades.attribution, shades.share])
def test_every_number_can_be_read(style):
    """Catches white on pale and black on dark: contrast is at least 4.5."""
    for value in np.linspace(-1.4, 1.4, 57):
        ground, ink = re.fullmatch(r"background:(#\w{6});color:(#\w{3})", style(value)).groups()
        assert contrast(ground, ink) >= 4.5
    assert style(None) == style(float("nan")) == ""
    assert style(1.4) == style(1.0)
