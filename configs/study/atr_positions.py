"""ATR with the other positions, on the easy and the medium language.

Expected (the study): attention without positions is better at width 16, with long expansions at 32
too, and worse at larger ones; state space models differ by a few points.

Question: who needs to be told positions in documents with structure?

    python -m launch.sweep --config=configs/study/atr_positions.py --workdir=DIR
    python -m launch.study --only=atr_positions --scale=laptop --workdir=DIR
"""

from ml_collections import ConfigDict

from configs.grids import Changes
from configs.study import atr_two_layers
from configs.study.atr_languages import language
from configs.study.cells import MIXERS, cells, other_positions


def get_config(arg: str = "") -> ConfigDict:
    """Arguments: those of `atr_two_layers`."""
    return atr_two_layers.get_config(arg)


def runs(scale: str) -> Changes:
    """Every mixer of the study with the positions that it does not have there."""
    languages = [language(name) for name in ("easy", "medium")]
    return other_positions(cells("atr_positions", scale, MIXERS, languages))


def sweep() -> Changes:
    """All of it on the study's grid."""
    return runs("full")
