"""AR with the other positions: attention without, all others with learned ones.

Expected (the study, width 64): attention without positions 9 %, Based with them 91 %, Mamba 52 %.

Question: who needs to be told positions, and whom do they harm?

    python -m launch.sweep --config=configs/study/ar_positions.py --workdir=DIR
    python -m launch.study --only=ar_positions --scale=laptop --workdir=DIR
"""

from ml_collections import ConfigDict

from configs.grids import Changes
from configs.study import ar_two_layers
from configs.study.cells import MIXERS, cells, other_positions


def get_config(arg: str = "") -> ConfigDict:
    """Arguments: those of `ar_two_layers`."""
    return ar_two_layers.get_config(arg)


def runs(scale: str) -> Changes:
    """Every mixer of the study with the positions that it does not have there."""
    return other_positions(cells("ar_positions", scale, MIXERS))


def sweep() -> Changes:
    """All of it on the study's grid."""
    return runs("full")
