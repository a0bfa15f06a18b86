"""ATR, the easy language: Mamba without its short convolution.

Expected (the study, third version): it still learns, by induction, while on AR it fails.

Question: can Mamba do without its convolution where documents have structure?

    python -m launch.sweep --config=configs/study/atr_without_convolution.py --workdir=DIR
    python -m launch.study --only=atr_without_convolution --scale=laptop --workdir=DIR
"""

from ml_collections import ConfigDict

from configs.grids import Changes, axis
from configs.study import atr_two_layers
from configs.study.cells import cells


def get_config(arg: str = "") -> ConfigDict:
    """Arguments: those of `atr_two_layers`."""
    return atr_two_layers.get_config(arg)


def runs(scale: str) -> Changes:
    """Mamba without convolution."""
    options = axis("model.mixer_options", [{"d_conv": 0}])
    return cells("atr_without_convolution", scale, ("mamba",), options)


def sweep() -> Changes:
    """Mamba without convolution on the study's grid."""
    return runs("full")
