"""Further seeds of the cells of AR that hold what findings 4, 10, 11 and 13 say, but not certainly.

Question: do Hyena and H3 of width 64 stay below 8 and 5 % (finding 4); does Mamba write the answer
in layer 0 (10); is it as good with three taps as with four, does one tap fail at another rate too,
and may two give the published 91 % (11); and does Based lie on the right side of its thresholds
with each kernel (13)?

    python -m launch.sweep --config=configs/study/ar_further_seeds.py --workdir=DIR

Task, training set and training length are those of `ar_laptop`, the width is 64, and the seeds
follow the ones that were run at the same rate. The number of them was fixed before any was run: so
many that a claim would be decided among 30 findings if seeds went on to lie as they did. It takes
about five hours on a core.

Expected (the study, its best of seven rates with one seed each): 3 and 2 % for Hyena and H3; 81,
91, 91 and 2 % for Mamba with four, three, two taps and one; 99, 97, 3 and 4 % for Based with two
and four taps, one and an implicit kernel.
"""

from ml_collections import ConfigDict

from configs.grids import Changes, chain, product, seeds
from configs.study import ar_laptop
from configs.study.ar_second_rates import cell


def get_config(arg: str = "") -> ConfigDict:
    """Arguments: those of `ar_two_layers`."""
    return ar_laptop.get_config(arg)


def sweep() -> Changes:
    """Based's kernels, then Hyena and H3, then Mamba's taps."""
    return chain(
        product(_kernel(4, 1e-3), seeds(8)[3:]),
        product(_kernel(2, 3e-3), seeds(4)[2:]),
        product(_kernel("implicit", 3e-3), seeds(4)[2:]),
        product(_kernel(1, 3e-3), seeds(4)[2:]),
        product(cell("hyena", 3e-3), seeds(6)[3:]),
        product(cell("h3", 3e-3), seeds(6)[3:]),
        product(cell("mamba", 1e-2), seeds(7)[3:]),
        product(_taps(1, 3e-3), seeds(1)),
        product(_taps(2, 1e-3), seeds(3)[1:]),
        product(_taps(3, 1e-2), seeds(4)[2:]),
    )


def _kernel(taps: int | str, learning_rate: float) -> Changes:
    return cell("based", learning_rate, {"model.mixer_options": {"kernel": taps}})


def _taps(taps: int, learning_rate: float) -> Changes:
    return cell("mamba", learning_rate, {"model.mixer_options": {"d_conv": taps}})
