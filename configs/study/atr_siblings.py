"""ATR, the easy language, asked for the rightmost sibling, with one to three layers.

Expected (the study): 85 % and more for all but one layer of BaseConv or Based (75 %).

Question: is another relation recalled alike?

    python -m launch.sweep --config=configs/study/atr_siblings.py --workdir=DIR
    python -m launch.study --only=atr_siblings --scale=laptop --workdir=DIR
"""

from ml_collections import ConfigDict

from configs.grids import Changes, axis
from configs.study import atr_two_layers
from configs.study.cells import MIXERS, cells


def get_config(arg: str = "") -> ConfigDict:
    """Arguments: those of `atr_two_layers`."""
    config = atr_two_layers.get_config(arg)
    config.task.query_types = ("sibling",)
    config.training.decay = "linear"
    return config


def runs(scale: str) -> Changes:
    """Every mixer at every depth."""
    return cells("atr_siblings", scale, MIXERS, axis("model.layers", (1, 2, 3)))


def sweep() -> Changes:
    """Three depths on the study's grid."""
    return runs("full")
