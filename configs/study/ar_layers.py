"""AR with one layer and with three.

Expected (the study, width 64): one layer, Mamba 83 %, all others 9 % at most; three layers,
attention 100 %, Based 99 %, Mamba 77 %.

Question: who needs two layers, and what does a third one change?

    python -m launch.sweep --config=configs/study/ar_layers.py --workdir=DIR
    python -m launch.study --only=ar_layers --scale=laptop --workdir=DIR
"""

from ml_collections import ConfigDict

from configs.grids import Changes, axis
from configs.study import ar_two_layers
from configs.study.cells import cells


def get_config(arg: str = "") -> ConfigDict:
    """Arguments: those of `ar_two_layers`."""
    return ar_two_layers.get_config(arg)


def runs(scale: str) -> Changes:
    """Every mixer with one layer and with three."""
    return cells("ar_layers", scale, ar_two_layers.MIXERS, axis("model.layers", (1, 3)))


def sweep() -> Changes:
    """Both depths on the study's grid."""
    return runs("full")
