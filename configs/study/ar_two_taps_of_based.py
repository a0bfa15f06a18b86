"""Based with two taps at a smaller learning rate: what finding 13 waited for.

Question: do two taps recall in every run at 1e-3? At 3e-3 three seeds of four have 97 to 99 %, and
one learns its documents by heart (7 %); with four taps some seeds failed at 3e-3 and none of eight
at 1e-3.

    python -m launch.sweep --config=configs/study/ar_two_taps_of_based.py --workdir=DIR

Task, training set and training length are those of `ar_laptop`, the width is 64. Six seeds were
fixed before any was run: so many that finding 13 would be decided among 30 if all lie where those
with four taps lie. It takes about an hour on a core.

Expected (the study, its best of seven rates with one seed): 99 %.
"""

from ml_collections import ConfigDict

from configs.grids import Changes, product, seeds
from configs.study import ar_laptop
from configs.study.ar_second_rates import cell


def get_config(arg: str = "") -> ConfigDict:
    """Arguments: those of `ar_two_layers`."""
    return ar_laptop.get_config(arg)


def sweep() -> Changes:
    """Six seeds of Based with two taps at 1e-3."""
    two_taps = {"model.mixer_options": {"kernel": 2}}
    return product(cell("based", 1e-3, two_taps), seeds(6))
