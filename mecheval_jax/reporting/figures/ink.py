"""Colours of texts on coloured grounds."""

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import to_rgb

DARK_ON_COLOUR, LIGHT_ON_COLOUR = "#111111", "#fdfdfd"
"""Colours of text on a coloured ground, which does not change on a dark page."""


def ink_on(colour: str | Sequence[float]) -> str:
    """The colour of text on a coloured ground that is dark or pale."""
    return DARK_ON_COLOUR if is_pale(colour) else LIGHT_ON_COLOUR


def is_pale(colour: str | Sequence[float]) -> bool:
    """Whether black has more contrast with a colour than white (WCAG 2)."""
    return (luminance(colour) + 0.05) ** 2 >= 0.05 * 1.05


def luminance(colour: str | Sequence[float]) -> float:
    """Relative luminance of a colour of sRGB, 0 to 1 (WCAG 2)."""
    parts = np.array(to_rgb(colour))
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))
