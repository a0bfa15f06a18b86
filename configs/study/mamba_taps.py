"""Mamba on AR with another short convolution: how many taps does it need?

Expected (the study, width 64): without convolution 2.8 %, with one tap 2.2 %, two 91 %, three 91 %;
four are the default, in `ar_two_layers`.

Question: does the short convolution bind keys to values, and how far must it reach?

    python -m launch.sweep --config=configs/study/mamba_taps.py --workdir=DIR
    python -m launch.study --only=mamba_taps --scale=laptop --workdir=DIR
"""

from ml_collections import ConfigDict

from configs.grids import Changes, axis
from configs.study import ar_two_layers
from configs.study.cells import cells

TAPS = (2, 1, 3, 0, 6, 8, 16)  # the study has 0 to 3 beside 4


def get_config(arg: str = "") -> ConfigDict:
    """Arguments: those of `ar_two_layers`."""
    return ar_two_layers.get_config(arg)


def runs(scale: str) -> Changes:
    """Every number of taps at the widths, learning rates and seeds of a scale."""
    options = axis("model.mixer_options", [{"d_conv": taps} for taps in TAPS])
    return cells("mamba_taps", scale, ("mamba",), options)


def sweep() -> Changes:
    """Every number of taps on the study's grid."""
    return runs("full")
