"""AR with Adam's beta2 at 0.95.

Expected: nothing known; many state space models are trained with it.

Question: does the optimizer decide who recalls?

    python -m launch.sweep --config=configs/study/ar_beta2.py --workdir=DIR
    python -m launch.study --only=ar_beta2 --scale=laptop --workdir=DIR
"""

from ml_collections import ConfigDict

from configs.grids import Changes, axis
from configs.study import ar_two_layers
from configs.study.cells import COMPARED, cells


def get_config(arg: str = "") -> ConfigDict:
    """Arguments: those of `ar_two_layers`."""
    return ar_two_layers.get_config(arg)


def runs(scale: str) -> Changes:
    """The main mixers with beta2 0.95."""
    return cells("ar_beta2", scale, COMPARED, axis("training.beta2", (0.95,)))


def sweep() -> Changes:
    """Five seeds at two widths."""
    return runs("full")
