r"""BaseConv of width 256 on AR, at the learning rates on either side of `ar_wide_base_conv`.

Question: does a run of BaseConv have partial induction (finding 7) at a rate at which it does more
than guess?

    python -m launch.sweep --config=configs/study/ar_wide_base_conv_rates.py --workdir=DIR \
        --members_at_once=1

At 3e-3 and 1e-3 it guesses, and corrupting the key takes nothing away. 1e-2 is the
rate above the two, 3e-4 the one below. Two runs, seed 0, fixed before either was begun. A core
needs an hour and a quarter for each.

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
    return chain(cell("base_conv", 1e-2, width=256), cell("base_conv", 3e-4, width=256))
