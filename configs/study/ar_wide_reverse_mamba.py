r"""Mamba of width 256 on AR asked the other way round, with three layers.

Question: does it go on to recall in a wide model where attention and Based of this width collapse
(finding 26, `ar_wide_reverse`)?

    python -m launch.sweep --config=configs/study/ar_wide_reverse_mamba.py --members_at_once=1 \
        --interventions=full --workdir=DIR

1e-3 is the rate at which Mamba of this width is best on the question asked forwards. One run, seed
0, fixed before it was begun.

Expected (the study, one seed): 97 % of the documents answered.
"""

from ml_collections import ConfigDict

from configs.grids import Changes
from configs.study import ar_reverse
from configs.study.cells import run


def get_config(arg: str = "") -> ConfigDict:
    """Arguments: those of `ar_two_layers`."""
    return ar_reverse.get_config(arg)


def sweep() -> Changes:
    """Seed 0."""
    return [run("mamba", 256, 1e-3, 0) | {"model.layers": 3}]
