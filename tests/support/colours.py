"""Colours as readers see them."""

import numpy as np
from matplotlib.colors import to_rgb


def contrast(one, other):
    """Contrast of two colours, 1 to 21, as of WCAG 2."""
    parts = np.array([to_rgb(one), to_rgb(other)])
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    low, high = sorted(linear @ (0.2126, 0.7152, 0.0722))
    return (high + 0.05) / (low + 0.05)
