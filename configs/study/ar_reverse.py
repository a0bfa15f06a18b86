"""AR asked the other way round, for the key of a value, with three layers.

Expected (the study): Mamba 76 % at width 64 and 97 % at 256; attention and Based 97 and 98 % at 64,
6 and 20 % at 256.

Question: where is a pair held that is asked from its later token?

    python -m launch.sweep --config=configs/study/ar_reverse.py --workdir=DIR
    python -m launch.study --only=ar_reverse --scale=laptop --workdir=DIR
"""

from ml_collections import ConfigDict

from configs.grids import Changes, axis
from configs.study import ar_two_layers
from configs.study.cells import MIXERS, cells


def get_config(arg: str = "") -> ConfigDict:
    """Arguments: those of `ar_two_layers`."""
    config = ar_two_layers.get_config(arg)
    config.task.reverse = True
    return config


def runs(scale: str) -> Changes:
    """Every mixer with three layers."""
    return cells("ar_reverse", scale, MIXERS, axis("model.layers", (3,)))


def sweep() -> Changes:
    """Three layers on the study's grid."""
    return runs("full")
