"""ATR, the easy language, where a fifth of the (parent, child) pairs is held out.

Expected (the study, width 64): seen pairs 84 to 97 %, held-out ones attention 60 %, Mamba 47 %,
BaseConv 20 %.

Question: is recall general, or are pairs memorised?

    python -m launch.sweep --config=configs/study/atr_held_out.py --workdir=DIR
    python -m launch.study --only=atr_held_out --scale=laptop --workdir=DIR
"""

from ml_collections import ConfigDict

from configs.grids import Changes
from configs.study import atr_two_layers
from configs.study.cells import MIXERS, cells


def get_config(arg: str = "") -> ConfigDict:
    """Arguments: those of `atr_two_layers`."""
    return atr_two_layers.get_config(f"held_out=0.2,{arg}")


def runs(scale: str) -> Changes:
    """Every mixer."""
    return cells("atr_held_out", scale, MIXERS)


def sweep() -> Changes:
    """The study's grid."""
    return runs("full")
