r"""BaseConv of width 256 on AR, at two learning rates.

Question: does a run of BaseConv have partial induction (finding 7)?

    python -m launch.sweep --config=configs/study/ar_wide_base_conv.py --workdir=DIR \
        --members_at_once=1

The members are two of those that `ar_two_layers` has at the scale ``device``, with seed 0. The
study does not say which rate its run had: 3e-3 is the one that is best for Based, the architecture
next to it, and 1e-3 the one below. A core needs an hour and a quarter for each.

Expected (the study, the best of seven rates): 9.7 % of the documents answered, and in one run 57 %
of the answer back at the value.
"""

from ml_collections import ConfigDict

from configs.grids import Changes, chain
from configs.study import ar_laptop
from configs.study.ar_second_rates import cell


def get_config(arg: str = "") -> ConfigDict:
    """Arguments: those of `ar_two_layers`."""
    return ar_laptop.get_config(arg)


def sweep() -> Changes:
    """Seed 0 at two rates."""
    return chain(cell("base_conv", 3e-3, width=256), cell("base_conv", 1e-3, width=256))
