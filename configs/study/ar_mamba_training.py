r"""Mamba on AR, trained in other ways than the study's.

Question: seven seeds of width 64 reach 0 to 86 % at 1e-2, the study's has 81 %. Does a part of the
training other than the seed and the learning rate decide where a run ends?

    python -m launch.sweep --config=configs/study/ar_mamba_training.py --workdir=DIR \
        --members_at_once=1

All is as in `ar_laptop` at 1e-2 with seed 0, which has 67 %, but for one thing in each member:
a replayed set of twice the size (so that each document is seen 8 times and not 16), learned
positions in the model, a rate that falls linearly, fresh documents at every step, or the batches of
the set in another order each time. There is one run of each, so that only what lies outside the
range of the seeds can be told. A core needs half an hour for each. What was found stands in
docs/experiments.md.

Expected: the study says nothing on these. If what limits Mamba is that it learns its documents by
heart, the larger set helps.
"""

from ml_collections import ConfigDict

from configs.grids import Changes, product
from configs.study import ar_laptop
from configs.study.ar_second_rates import cell
from configs.study.ar_two_layers import EPOCH


def get_config(arg: str = "") -> ConfigDict:
    """Arguments: those of `ar_two_layers`."""
    return ar_laptop.get_config(arg)


def sweep() -> Changes:
    """Seed 0 with each of the five changes."""
    changes: Changes = [
        {"training.training_batches": 2 * EPOCH},
        {"model.positions": "learned"},
        {"training.decay": "linear"},
        {"training.training_batches": None},
        {"training.shuffle": True},
    ]
    return product(cell("mamba", 1e-2), changes)
