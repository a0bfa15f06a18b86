"""Further seeds of Mamba at its next learning rate, 3e-3.

Question: is 1e-2, the study's best rate at width 64, too high to be relied on? There seven seeds
reach 86, 78, 76, 74, 67, 47 and 0 %; at 3e-3 the one that was run has 76.6 %.

    python -m launch.sweep --config=configs/study/ar_mamba_next_rate.py --workdir=DIR

Task, training set and training length are those of `ar_laptop`, the width is 64. Three seeds more
were fixed before any was run. It takes about an hour and a half on a core.

Expected (the study, one seed): 72 % at 3e-3, 81 % at 1e-2.
"""

from ml_collections import ConfigDict

from configs.grids import Changes, product, seeds
from configs.study import ar_laptop
from configs.study.ar_second_rates import cell


def get_config(arg: str = "") -> ConfigDict:
    """Arguments: those of `ar_two_layers`."""
    return ar_laptop.get_config(arg)


def sweep() -> Changes:
    """Seeds 1 to 3 of Mamba at 3e-3."""
    return product(cell("mamba", 3e-3), seeds(4)[1:])
