r"""Two layers of Mamba of width 128 and of Hyena of width 256 on AR.

Question: do wide models recall as many as in the study (findings 3 and 4), and as well with one
layer as with two (8)?

    python -m launch.sweep --config=configs/study/ar_wide_two_layers.py --workdir=DIR \
        --members_at_once=1 --interventions=full

The members are among those that `ar_two_layers` has at the scale ``device``, each at the rate that
is the best in the study's plot. `ar_wide_one_layer` has the same two with one layer. On one
core, beside the other on the other core, Mamba needed 74 minutes and Hyena 134.

Expected (the study, one seed): 90 % of the documents answered by Mamba, 30 % by Hyena.
"""

from ml_collections import ConfigDict

from configs.grids import Changes, chain, product, seeds
from configs.study import ar_laptop
from configs.study.ar_second_rates import cell


def get_config(arg: str = "") -> ConfigDict:
    """Arguments: those of `ar_two_layers`."""
    return ar_laptop.get_config(arg)


def sweep() -> Changes:
    """Seed 0 of each at its best rate."""
    wide = chain(cell("mamba", 3e-3, width=128), cell("hyena", 3e-3, width=256))
    return product(wide, seeds(1))
