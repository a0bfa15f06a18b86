"""Background colours of cells on a page, each with a readable text colour."""

from collections.abc import Callable

import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.colors import to_hex

from mecheval_jax.reporting.figures.drawing import ATTRIBUTIONS, SHARES
from mecheval_jax.reporting.figures.ink import is_pale


def shade(scale: ScalarMappable) -> Callable[[float | None], str]:
    """The style of a cell for each number on a scale; empty if there is no number."""

    def style(value: float | None) -> str:
        if value is None or pd.isna(value):
            return ""
        red, green, blue, _ = scale.cmap(float(scale.norm(float(value))))
        ink = "#000" if is_pale((red, green, blue)) else "#fff"
        return f"background:{to_hex((red, green, blue))};color:{ink}"

    return style


attribution = shade(ATTRIBUTIONS)
share = shade(SHARES)
