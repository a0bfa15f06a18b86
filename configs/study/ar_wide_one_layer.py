r"""One layer of Hyena and of Mamba on AR, at the widths where the study's own recall best.

Question: is one layer enough for those that retrieve directly (finding 8)?

    python -m launch.sweep --config=configs/study/ar_wide_one_layer.py --workdir=DIR \
        --members_at_once=1 --interventions=full

The members are among those that `ar_layers` has at the scale ``device``, each at the rate that is
the best in the study's plot of two layers. A core needed 40 minutes for Hyena, 33 for Mamba of
width 128 and 76 for Mamba of width 256.

Expected (the study, one seed): 32 % of the documents answered by Hyena, 87 and 96 % by Mamba.
"""

from ml_collections import ConfigDict

from configs.grids import Changes, chain, product, seeds
from configs.study import ar_laptop
from configs.study.ar_second_rates import cell

ONE_LAYER = {"model.layers": 1}


def get_config(arg: str = "") -> ConfigDict:
    """Arguments: those of `ar_two_layers`."""
    return ar_laptop.get_config(arg)


def sweep() -> Changes:
    """Seed 0 of each at its best rate."""
    wide = chain(
        cell("hyena", 3e-3, ONE_LAYER, width=256),
        cell("mamba", 3e-3, ONE_LAYER, width=128),
        cell("mamba", 1e-3, ONE_LAYER, width=256),
    )
    return product(wide, seeds(1))
