"""Background colours of cells on a page, each with a readable text colour."""

from collections.abc import Callable

import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.colors import to_hex

from mecheval_jax.reporting.figures.drawing import ATTRIBUTIONS, SHARES


def luminance(rgb: tuple[float, float, float]) -> float:
    """Relative luminance of a colour of sRGB, 0 to 1 (WCAG 2)."""
    linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in rgb]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: float, other: float) -> float:
    """Contrast of two luminances, 1 to 21 (WCAG 2)."""
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)


def shade(scale: ScalarMappable) -> Callable[[float | None], str]:
    """The style of a cell for each number on a scale; empty if there is no number."""

    def style(value: float | None) -> str:
        if value is None or pd.isna(value):
            return ""
        red, green, blue, _ = scale.cmap(float(scale.norm(float(value))))
        ground = luminance((red, green, blue))
        ink = "#000" if contrast(ground, 0) >= contrast(ground, 1) else "#fff"
        return f"background:{to_hex((red, green, blue))};color:{ink}"

    return style


attribution = shade(ATTRIBUTIONS)
share = shade(SHARES)
