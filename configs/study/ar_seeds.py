"""AR with five more seeds at the best learning rates.

Expected: the study has one seed; if seeds differ, its numbers are one draw of many.

Question: how much of a difference is the seed?

    python -m launch.sweep --config=configs/study/ar_seeds.py --workdir=DIR
    python -m launch.study --only=ar_seeds --scale=laptop --workdir=DIR
"""

from ml_collections import ConfigDict

from configs.grids import Changes
from configs.study import ar_two_layers
from configs.study.cells import COMPARED, cells


def get_config(arg: str = "") -> ConfigDict:
    """Arguments: those of `ar_two_layers`."""
    return ar_two_layers.get_config(arg)


def runs(scale: str) -> Changes:
    """The main mixers with seeds from 3 on."""
    members = cells("ar_seeds", scale, COMPARED)
    return [
        each | {f"training.{name}": 3 + each[f"training.{name}"] for name in ("seed", "data_seed")}
        for each in members
    ]


def sweep() -> Changes:
    """Five seeds at two widths."""
    return runs("full")
