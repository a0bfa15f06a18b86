r"""Hyena of width 128 on AR: the narrowest at which the study has runs of it that recall.

Question: does a run of Hyena recall at all (finding 4), and then hold nothing at the value (6), and
write its answer in layer 0 (10)?

    python -m launch.sweep --config=configs/study/ar_wide_hyena.py --workdir=DIR \
        --interventions=full

The one member is among those that `ar_two_layers` has at the scale ``device``, at the rate that is
the best in the study's plot of them. A core needs three quarters of an hour for it. A run that
answers so few documents has no verdict, so that all is measured (``full``).

Expected (the study, one seed): 14 % of the documents answered, and the answer back at the query.
"""

from ml_collections import ConfigDict

from configs.grids import Changes, product, seeds
from configs.study import ar_laptop
from configs.study.ar_second_rates import cell


def get_config(arg: str = "") -> ConfigDict:
    """Arguments: those of `ar_two_layers`."""
    return ar_laptop.get_config(arg)


def sweep() -> Changes:
    """Seed 0 at the best rate."""
    return product(cell("hyena", 1e-2, width=128), seeds(1))
