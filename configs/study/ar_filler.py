"""AR whose pairs are separated by filler tokens, out of reach of a short convolution.

Expected: where a short convolution binds a value to the key before it, and not to what follows,
filler changes nothing; the study did not try it.

Question: does recall rest on the next key standing right after a value?

    python -m launch.sweep --config=configs/study/ar_filler.py --workdir=DIR
    python -m launch.study --only=ar_filler --scale=laptop --workdir=DIR
"""

from ml_collections import ConfigDict

from configs.grids import Changes
from configs.study import ar_two_layers
from configs.study.cells import cells


def get_config(arg: str = "") -> ConfigDict:
    """Arguments: those of `ar_two_layers`."""
    config = ar_two_layers.get_config(arg)
    config.task.filler = 4
    return config


def runs(scale: str) -> Changes:
    """Every mixer with four fillers between two pairs."""
    return cells("ar_filler", scale, ar_two_layers.MIXERS)


def sweep() -> Changes:
    """Five seeds at two widths."""
    return runs("full")
