"""Three more seeds of the cells of AR whose interval holds a finding's threshold.

Question: on which side of the threshold do attention of width 32 (finding 1: 97.5 %), Based of
widths 32 and 64 (finding 2: 91 and 97 %) and Based with four taps (finding 13: 95 %) lie?

    python -m launch.sweep --config=configs/study/ar_undecided_cells.py --workdir=DIR

Task, training set, training length and learning rates are those of `ar_laptop`; the seeds are the
three that follow the ones there. The number of them was fixed before any was run, so that runs were
not added until a finding held. It takes about an hour and a quarter on a core.

Expected (the study, its best of seven rates with one seed each): 100, 93, 99 and 97 %.
"""

from ml_collections import ConfigDict

from configs.grids import Changes, chain, product, seeds
from configs.study import ar_laptop
from configs.study.ar_second_rates import cell


def get_config(arg: str = "") -> ConfigDict:
    """Arguments: those of `ar_two_layers`."""
    return ar_laptop.get_config(arg)


def sweep() -> Changes:
    """Three seeds of each cell, the narrow ones first."""
    four_taps = {"model.mixer_options": {"kernel": 4}}
    return chain(
        product(cell("attention", 1e-3, width=32), seeds(6)[3:]),
        product(cell("based", 3e-3, width=32), seeds(6)[3:]),
        product(cell("based", 3e-3, four_taps), seeds(5)[2:]),
        product(cell("based", 3e-3), seeds(6)[3:]),
    )
