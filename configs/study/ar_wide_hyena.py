r"""Hyena of width 128 on AR: the narrowest at which the study has runs of it that recall.

Question: does a run of Hyena recall at all (finding 4), and then hold nothing at the value (6), and
write its answer in layer 0 (10)?

    python -m launch.sweep --config=configs/study/ar_wide_hyena.py --workdir=DIR \
        --members_at_once=1

The members are some of those that `ar_two_layers` has at the scale ``device``: the rate that is the
best in the study's plot of them, with two seeds, and the one below it. A core needs three quarters
of an hour for each.

Expected (the study, one seed each): 14 % of the documents answered at 1e-2, 10 % at 3e-3, and the
answer back at the query or the key.
"""

from ml_collections import ConfigDict

from configs.grids import Changes, chain, product, seeds
from configs.study import ar_laptop
from configs.study.ar_second_rates import cell


def get_config(arg: str = "") -> ConfigDict:
    """Arguments: those of `ar_two_layers`."""
    return ar_laptop.get_config(arg)


def sweep() -> Changes:
    """Two seeds at the better rate, one at the other."""
    return chain(
        product(cell("hyena", 1e-2, width=128), seeds(2)),
        product(cell("hyena", 3e-3, width=128), seeds(1)),
    )
