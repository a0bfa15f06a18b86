"""AR with learning rates between those of the study.

Expected: a smooth curve over rates; the study's rates are factors of three apart.

Question: does a best rate lie between two of the grid?

    python -m launch.sweep --config=configs/study/ar_rates.py --workdir=DIR
    python -m launch.study --only=ar_rates --scale=laptop --workdir=DIR
"""

from ml_collections import ConfigDict

from configs.grids import Changes
from configs.study import ar_two_layers
from configs.study.cells import COMPARED, cells

FINER = (0.5, 0.7, 1.4, 2.0)  # times the best rate of the grid


def get_config(arg: str = "") -> ConfigDict:
    """Arguments: those of `ar_two_layers`."""
    return ar_two_layers.get_config(arg)


def runs(scale: str) -> Changes:
    """The main mixers at rates around the best of the grid."""
    members = cells("ar_rates", scale, COMPARED)
    rate = "training.learning_rate"
    return [each | {rate: factor * each[rate]} for factor in FINER for each in members]


def sweep() -> Changes:
    """Four more rates at two widths."""
    return runs("full")
