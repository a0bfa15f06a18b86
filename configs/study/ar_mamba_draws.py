r"""Mamba on AR with other draws: another order, and the documents and weights of two seeds crossed.

Question: seeds 0 and 1 of width 64 reach 67 and 76 % at 1e-2, others 0 to 86 %. Which of the things
that a seed draws is it: the first weights, the documents, or the order in which they come?

    python -m launch.sweep --config=configs/study/ar_mamba_draws.py --workdir=DIR

All is as in `ar_laptop` at 1e-2. The first member has the weights and the replayed set of seed 0,
and its batches come in another order each time; the second has the weights of seed 0 and the
documents of seed 1, the third the reverse. There is one run of each, so that only what lies outside
the range of the seeds can be told. A core needs half an hour for each. What was found stands in
docs/experiments.md. A run whose first weights are drawn in the study's own way, by its names and
converted, is begun by

    python -m tools.first_weights --workdir=DIR \
        --config=configs/study/ar_laptop.py:mixer=mamba,width=64,learning_rate=1e-2

and trained by `launch.train` with the same flags.

Expected: the study replays its set in one order, with one seed. If a run is as sensitive as two
machines' rounding says (57 and 67 % with seed 0), each of the three is like another seed.
"""

from ml_collections import ConfigDict

from configs.grids import Changes, product
from configs.study import ar_laptop
from configs.study.ar_second_rates import cell


def get_config(arg: str = "") -> ConfigDict:
    """Arguments: those of `ar_two_layers`."""
    return ar_laptop.get_config(arg)


def sweep() -> Changes:
    """Another order, the documents of seed 1 with the weights of seed 0, and the reverse."""
    changes: Changes = [
        {"training.shuffle": True},
        {"training.data_seed": 1},
        {"training.seed": 1, "training.data_seed": 0},
    ]
    return product(cell("mamba", 1e-2), changes)
