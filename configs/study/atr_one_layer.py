"""ATR with one layer, on the easy language.

Expected (the study, width 64): Mamba 92 %, H3 85 %, Hyena 83 %, attention 74 %, Based and BaseConv
52 %, the floor of copying.

Question: who needs two layers in documents with structure?

    python -m launch.sweep --config=configs/study/atr_one_layer.py --workdir=DIR
    python -m launch.study --only=atr_one_layer --scale=laptop --workdir=DIR
"""

from ml_collections import ConfigDict

from configs.grids import Changes, axis
from configs.study import atr_two_layers
from configs.study.cells import cells


def get_config(arg: str = "") -> ConfigDict:
    """Arguments: those of `atr_two_layers`."""
    return atr_two_layers.get_config(arg)


def runs(scale: str) -> Changes:
    """Every mixer with one layer."""
    return cells("atr_one_layer", scale, atr_two_layers.MIXERS, axis("model.layers", (1,)))


def sweep() -> Changes:
    """One layer on the study's grid."""
    return runs("full")
